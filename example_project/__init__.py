"""Every flight that left New York in 2013, from raw records to a delay model and a monthly report."""

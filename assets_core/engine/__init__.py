"""How a plan is carried out: the scheduler, the loop around it, one step in a worker, the executor's Protocol."""

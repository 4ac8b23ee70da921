"""The project: everything that `raw`, `clean` and `mart` define."""

from assets_core import Project
from example_project.clean import daily_weather, departures
from example_project.mart import (
    airport_ranking,
    daily_summary,
    delay_model,
    month_chart,
    month_download,
    month_report,
    monthly_summary,
    no_flight_is_lost,
    weekly_summary,
)
from example_project.raw import (
    airlines,
    airports,
    every_airport_reports,
    flights,
    most_flights_leave,
    planes,
    weather,
)

project = Project(
    assets=[
        flights,
        weather,
        planes,
        airports,
        airlines,
        daily_weather,
        departures,
        daily_summary,
        weekly_summary,
        monthly_summary,
        airport_ranking,
        delay_model,
        month_report,
        month_chart,
        month_download,
    ],
    checks=[every_airport_reports, most_flights_leave, no_flight_is_lost],
)

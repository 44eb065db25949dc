"""A function with a schedule, for tests."""

import fabric_sdk as fabric

app = fabric.App("ticking")


@app.function(schedule=fabric.Period(seconds=1))
def tick(by="the schedule"):
    return f"called by {by}"

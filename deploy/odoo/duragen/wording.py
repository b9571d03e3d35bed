"""Figures in words, for people: spans of time, credits, quotas. `env` says in which language."""

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def duration(env, seconds):
    """A span of time in its largest unit, rounded up: "20 seconds", "3 hours"."""
    seconds = max(int(seconds), 1)
    # An hour and a minute is "2 hours": what is promised must be true by then.
    size, unit = next(each for each in _UNITS if seconds >= each[0])
    number = -(-seconds // size)
    one = {
        "day": env._("1 day"),
        "hour": env._("1 hour"),
        "minute": env._("1 minute"),
        "second": env._("1 second"),
    }
    many = {
        "day": env._("%s days", number),
        "hour": env._("%s hours", number),
        "minute": env._("%s minutes", number),
        "second": env._("%s seconds", number),
    }
    return (one if number == 1 else many)[unit]


def credits_in_words(env, number):
    """1 credit, 2 credits."""
    return env._("1 credit") if number == 1 else env._("%s credits", number)


def price_in_words(env, price):
    """The same for a price: what costs nothing is free."""
    return credits_in_words(env, price) if price else env._("Free")


def room_again(env, seconds):
    """When a limit has room again, as a sentence."""
    return env._("There is room again in %s.", duration(env, seconds))


def quota_in_words(env, standing):
    """One of `duragen.quota`'s standings: "2 of 2 today, new in 3 hours"."""
    figures = {
        "used": standing["used"],
        "limit": standing["limit"],
        "time": duration(env, standing["resets_in"]),
    }
    if standing["period"] == "month":
        return env._("%(used)s of %(limit)s this month, new in %(time)s", **figures)
    return env._("%(used)s of %(limit)s today, new in %(time)s", **figures)

"""How the addon counts callers that are not believed."""

import threading

import pytest

from tests.deploy.addon import module

throttling = module("throttling")


def test_so_many_a_minute_and_no_more() -> None:
    """Then each has to wait until a minute after the first; after that it begins anew."""
    failures = throttling.Failures(most=3)

    def wait(now: float) -> int:
        refusal = failures.add("a", now)
        assert refusal.is_news == (refusal.wait == 0)
        return int(refusal.wait)

    assert [wait(100 + second) for second in range(3)] == [0, 0, 0]
    assert wait(110) == 51
    assert wait(159.9) == 1
    assert [wait(160) for _ in range(4)] == [0, 0, 0, 61]


def test_each_caller_is_counted_alone() -> None:
    """A flood from one address changes nothing for another."""
    failures = throttling.Failures(most=1)
    for _ in range(100):
        failures.add("a", now=0)
    assert failures.add("b", now=0) == (0, True)


def test_the_memory_is_bounded() -> None:
    """Whatever comes from however many addresses."""
    failures = throttling.Failures(keys=100)
    for number in range(10_000):
        failures.add(str(number), now=0)
    assert len(failures) == 100


def test_threads_lose_no_count() -> None:
    """Odoo answers in several at once."""
    failures, waits = throttling.Failures(most=1_000), []
    begin = threading.Barrier(8)

    def fail() -> None:
        begin.wait()
        waits.extend(failures.add("a", now=0).wait for _ in range(250))

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (waits.count(0), len(waits)) == (1_000, 2_000)


def test_where_one_was_believed_ten_times_as_many_may_fail() -> None:
    """For an hour, and not without end: behind one proxy a flood comes from there as well."""
    failures = throttling.Failures(most=3)
    failures.believe("a", now=0)
    found = [failures.add("a", now=3_599) for _ in range(32)]
    assert [each.wait for each in found] == [0] * 30 + [61] * 2
    assert [each.is_news for each in found] == [True] * 3 + [False] * 29
    found = [failures.add("a", now=3_660) for _ in range(4)]
    assert [each.wait for each in found] == [0, 0, 0, 61]


def test_the_last_places_are_remembered() -> None:
    """A bounded number of those where one was believed."""
    failures = throttling.Failures(most=1, keys=2)
    for key in ("a", "b", "a", "c"):
        failures.believe(key, now=0)

    def is_believed(key: str) -> bool:
        return bool([failures.add(key, now=1).wait for _ in range(2)] == [0, 0])

    assert [is_believed(key) for key in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unknown"),
        (None, "unknown"),
    ],
)
def test_what_one_caller_has(address: str | None, network: str) -> None:
    """One customer of a provider has 64 bits of IPv6 addresses, and one of IPv4."""
    assert throttling.network_of(address) == network

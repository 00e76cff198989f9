"""`make bench`: measures, prints tables, and writes those of a whole run into docs/performance.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time

from benchmarks import against, cases, growth, overload, report, uploads
from benchmarks.cases import FULL, QUICK, TINY, Case, Effort
from benchmarks.machine import describe, leave_the_servers_core
from benchmarks.records import ROOT
from benchmarks.targets import Run

SERVICES = ROOT / "services" / "services.sh"


def main() -> int:
    """0 when all was measured; what meets its target is in the tables."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    leave_the_servers_core()
    words = options.only.split()
    options.embedded |= words == ["growth"]
    if not options.embedded and "KAFKA_BOOTSTRAP" not in os.environ:
        if _servers_can_be_had():
            # what is started from here stays on the other cores, and so do Kafka and its like
            os.execv(SERVICES, [str(SERVICES), "run", sys.executable, "-m", "benchmarks", *sys.argv[1:]])
        options.embedded = True
    effort = TINY if options.tiny else QUICK if options.quick else FULL
    if options.seconds:
        effort = effort._replace(seconds=options.seconds)
    machine, whole = describe(effort.seconds), not (options.quick or options.tiny or options.embedded)
    if options.against:
        print(_against(options.against, words, effort, options))
        return 0
    if words == ["overload"]:
        print(overload.measure("embedded", effort, _say))
        return 0
    if words == ["growth"] or not (words or options.tiny):
        text = "\n\n".join((machine, growth.table(asyncio.run(growth.measure(say=_say))))) + "\n"
        _publish("growth", text, write=options.write or whole)
    if words not in (["uploads"], ["growth"]):
        text = _gateway(words, effort, options, machine)
        _publish("gateway", text, write=options.write or (whole and not words))
    if (not words or words == ["uploads"]) and not options.embedded:
        text = uploads.measure(machine, quick=options.quick, say=_say)
        _publish("uploads", text, write=options.write or whole)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: all ways to send in Avro, one in each other")
    parser.add_argument("--tiny", action="store_true", help="seconds: shows that it works, and measures nothing")
    parser.add_argument("--embedded", action="store_true", help="without Kafka, registry and S3")
    parser.add_argument(
        "--only",
        default="",
        metavar="WORDS",
        help="cases with all these words in their names, or uploads, growth or overload",
    )
    parser.add_argument(
        "--against", metavar="COMMIT", help="CPU of this tree beside that commit's, in turn; ten minutes"
    )
    parser.add_argument("--seconds", type=float, help="how long each case is measured")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md also when not all was measured")
    return parser.parse_args()


def _servers_can_be_had() -> bool:
    lacking = subprocess.run([SERVICES, "lacking"], stdout=subprocess.PIPE, text=True, check=False)
    if lacking.returncode:
        _say(f"{lacking.stdout.strip()}\nbench: embedded only, for what is missing above")
    return lacking.returncode == 0


def _chosen(all_cases: list[Case], words: list[str]) -> list[Case]:
    chosen = [case for case in all_cases if set(words) <= {*case.name.split(), case.kind.partition("-")[0]}]
    if not chosen:
        sys.exit(f"bench: no case has {' and '.join(words)} in its name; one is called {all_cases[0].name}")
    return chosen


def _against(commit: str, words: list[str], effort: Effort, options: argparse.Namespace) -> str:
    buses = ("embedded",) if options.embedded else cases.BUSES
    chosen = _chosen(against.cases(buses), words)
    if any(case.bus == "kafka" for case in chosen):
        cases.warm_kafka(effort)
    return against.measure(commit, chosen, effort.seconds / cases.GOES, _say)


def _gateway(words: list[str], effort: Effort, options: argparse.Namespace, machine: str) -> str:
    buses = ("embedded",) if options.embedded else cases.BUSES
    choose = cases.tiny_cases if options.tiny else cases.quick_cases if options.quick else cases.all_cases
    chosen = _chosen(choose(buses), words)
    run, began = Run(), time.monotonic()
    if any(case.bus == "kafka" for case in chosen):
        cases.warm_kafka(effort)
    for case in chosen:
        _measure_limits(run, case, effort)
        run.cases[case] = f = cases.run(case, effort)
        _say(f"{case.name}: {f.rate:,.0f} records/s, {f.cpu_us:.1f} us, server's core {f.server:.0%}")
    _say(f"{len(chosen)} cases in {time.monotonic() - began:.0f} s")
    return report.gateway_report(run, machine)


def _measure_limits(run: Run, case: Case, effort: Effort) -> None:
    """Those beside a case: hello-world before each, what is measured inside before the first that it belongs to."""
    place = case.shape, case.language, case.bus
    if case.kind == "single":
        run.hello[case] = f = cases.hello(case.shape, effort)
        _say(f"hello {case.shape}: {f.rate:,.0f} requests/s, {f.cpu_us:.1f} us")
    if place not in run.inside:
        run.inside[place] = found = cases.inside(*place, effort)
        for key in ("single", "stages"):
            shown = ", ".join(f"{stage} {us:.2f}" for stage, us in found[key].items())
            _say(f"inside {' '.join(place)}, {key}: {shown}")


def _publish(section: str, text: str, *, write: bool) -> None:
    print(text)
    if write:
        report.write(section, text)
        _say("written into docs/performance.md")
    else:
        _say("docs/performance.md stays as it is: only a whole run (or --write) goes there")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

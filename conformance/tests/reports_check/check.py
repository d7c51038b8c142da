"""Reads our reports with software that others wrote, and shows that the same software refuses a broken one.

Usage: check.py SCHEMA DIRECTORY TESTS, where DIRECTORY has report.junit, report.ktap and report.kcidb of TESTS results.
"""

import io
import json
import sys
from pathlib import Path

import xmlschema
from kcidb_io.schema import LATEST
from tap.parser import Parser


class Refused(Exception):
    """A report that is not as it should be."""


def junit(text, schema):
    """By the schema of Jenkins' xUnit plug-in."""
    try:
        schema.validate(io.StringIO(text))
    except (xmlschema.XMLSchemaException, SyntaxError) as error:
        raise Refused(error) from error
    return text.count("<testcase ")


def kcidb(text):
    """By the newest schema of kcidb-io."""
    try:
        report = json.loads(text)
        LATEST.validate(report)
    except Exception as error:  # of jsonschema, which kcidb-io brings
        raise Refused(error) from error
    builds = {build["id"] for build in report["builds"]}
    checkouts = {checkout["id"] for checkout in report["checkouts"]}
    if not builds >= {test["build_id"] for test in report["tests"]}:
        raise Refused("a test of no build")
    if not checkouts >= {build["checkout_id"] for build in report["builds"]}:
        raise Refused("a build of no checkout")
    if len({test["id"] for test in report["tests"]}) != len(report["tests"]):
        raise Refused("two tests have one id")
    return len(report["tests"])


def ktap(lines, level=0):
    """By tap.py. A level of KTAP is TAP: what is indented further is read by itself, and belongs to the result below it.

    Returns how many results the innermost level has, and whether all are ok."""
    own, nested, inner, inner_ok = [], [], 0, []
    for line in lines:
        if line.startswith("  "):
            nested.append(line[2:])
            continue
        if nested:
            count, ok = ktap(nested, level + 1)
            inner += count
            inner_ok.append(ok)
            nested = []
        own.append(line)
    if nested:
        raise Refused("results of a level that has none above")
    if not own or own[0] != "KTAP version 1":
        raise Refused("no version line")
    text = "\n".join(own[1:]) + "\n"
    results, plan = [], None
    for line in Parser().parse_text(text):
        if line.category == "unknown":
            raise Refused(f"tap.py does not know {line}")
        if line.category == "plan":
            plan = line.expected_tests
        if line.category == "test":
            results.append(line)
    if plan != len(results):
        raise Refused(f"{len(results)} results of {plan}")
    if [result.number for result in results] != list(range(1, len(results) + 1)):
        raise Refused("results out of order")
    if inner_ok and [result.ok for result in results] != inner_ok:
        raise Refused("a result says otherwise than those below it")
    return (inner if level < 2 else len(results)), all(result.ok for result in results)


def refuses(read, text, old, new):
    """The reader notices a change."""
    if text.count(old) == 0:
        raise SystemExit(f"nothing to break: no {old!r}")
    try:
        read(text.replace(old, new, 1))
    except Refused as error:
        print(f"  refused with {new!r} for {old!r}: {str(error).strip().splitlines()[0][:80]}")
        return
    raise SystemExit(f"{read.__name__} takes {new!r} for {old!r}")


def main():
    schema, directory, tests = xmlschema.XMLSchema(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

    def read_junit(text):
        return junit(text, schema)

    def read_ktap(text):
        return ktap(text.split("\n")[:-1])[0]

    for name, read, breaks in [
        ("junit", read_junit, [("<testcase name=", "<testcase nam="), ("</testcase>", ""), ("tests=", "test=")]),
        ("ktap", read_ktap, [("    ok 1 ", "    ok 2 "), ("    1..", "    1..9"), ("    not ok ", "    ok "), ("    # ", "    ")]),
        ("kcidb", kcidb, [('"origin"', '"origine"'), ('"PASS"', '"GOOD"'), ('"path": "', '"path": "a..'), ('"major": 5', '"major": 4')]),
    ]:
        text = (directory / f"report.{name}").read_text(encoding="utf-8")
        try:
            count = read(text)
        except Refused as error:
            raise SystemExit(f"{name}: {error}") from error
        if count != tests:
            raise SystemExit(f"{name}: {count} results of {tests}")
        print(f"{name}: {count} results")
        for old, new in breaks:
            refuses(read, text, old, new)


main()

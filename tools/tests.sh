#!/bin/sh
# Run tests, each on a kernel that can run it: those marked with a kernel feature that this one lacks
# under User Mode Linux, in one boot, and meanwhile all others here. None runs twice.
#
#   tools/tests.sh DIRECTORY_OF_PLUGINS TESTS PYTEST_FLAG ...     from the top of the repository
set -eu

export CNI_BIN="$1"
tests=$2
shift 2
python=$PWD/.venv/bin/python
here="this kernel ($(uname -r))"
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

lacking=$("$python" -m tests.lab.features)
if [ -z "$lacking" ]; then
    say "all tests run here: $here has every feature that one needs"
    exec tools/pytest.sh here "$tests" "$@"
fi
if ! command -v linux.uml >/dev/null; then
    say "here: all tests but those that need $lacking; $here lacks it, and"
    say "there is no User Mode Linux to run them under"
    exec tools/pytest.sh here "$tests" "$@"
fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT
say "under User Mode Linux, with the output below: the tests that need $lacking, which $here lacks"
UML_TIMEOUT=3000 tools/uml.sh tools/pytest.sh uml --needing "$lacking" "$tests" >"$output" 2>&1 &
under_uml=$!
say "here: all other tests"
status=0
tools/pytest.sh here --not-needing "$lacking" "$tests" "$@" || status=$?
say "under User Mode Linux: the tests that need $lacking"
other=0
wait "$under_uml" || other=$?
cat "$output"
# 5: there was none to run on that kernel
if [ "$status" = 5 ] || { [ "$status" = 0 ] && [ "$other" != 5 ]; }; then status=$other; fi
exit "$status"

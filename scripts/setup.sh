#!/usr/bin/env bash
# Finds Python 3.12 wherever it is and hands over to scripts/setup/__main__.py.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A candidate counts only if it runs (a pyenv shim may not) and is CPython 3.12.
is_python312() {
  [ -n "$1" ] && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1
}

candidates() {
  echo "${FINEVLA_PYTHON:-}"
  type -aP python3.12 python3 python 2>/dev/null || true
  ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12 2>/dev/null | sort -rV || true
  command -v uv >/dev/null && uv python find --no-project 3.12 2>/dev/null || true
  ls -d "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}"/cpython-3.12*/bin/python3.12 \
    2>/dev/null | sort -rV || true
  ls -d /usr/local/bin/python3.12 /opt/python/cp312-cp312/bin/python3.12 /opt/python3.12/bin/python3.12 2>/dev/null || true
}

python=
while IFS= read -r candidate; do
  if is_python312 "$candidate"; then
    python=$candidate
    break
  fi
done < <(candidates)

if [ -z "$python" ]; then
  cat >&2 <<'TEXT'
error: no Python 3.12 found (ROS 2 Kilted and Jazzy are built for it)
  looked in: $FINEVLA_PYTHON, PATH, pyenv's versions, uv's interpreters, /usr/local/bin, /opt/python
  remedy, one of:
    Ubuntu 24.04:  sudo apt-get install python3.12 python3.12-venv python3.12-dev
    pyenv:         pyenv install 3.12
    uv:            uv python install 3.12
    any other:     export FINEVLA_PYTHON=/path/to/python3.12
TEXT
  exit 2
fi
exec "$python" "$root/scripts/setup" "$@"

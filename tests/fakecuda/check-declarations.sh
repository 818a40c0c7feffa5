#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-declarations.sh INCLUDE_DIR
#
# Compares every value, layout, type and prototype of our own cuda.h and
# cudaGL.h with those of a CUDA toolkit, 12.0 or newer: what ours say is turned
# into assertions that are compiled against the toolkit's. Without a toolkit
# there is nothing to compare with: exit status 77.

set -eu

ours=${1:?which include directory?}
: "${CC:=cc}"

toolkit=
for dir in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /opt/cuda /usr; do
  if [ -n "$dir" ] && [ -f "$dir/include/cuda.h" ]; then
    toolkit=$dir/include
    break
  fi
done
if [ -z "$toolkit" ]; then
  echo "no CUDA toolkit here, nothing compared"
  exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(sed -n 's/^#define CUDA_VERSION \([0-9]*\)$/\1/p' "$toolkit/cuda.h")
if [ "${version:-0}" -lt 12000 ]; then
  echo "the toolkit in $toolkit is older than 12.0, nothing compared"
  exit 77
fi

# cudaGL.h of the toolkit needs OpenGL's headers.
headers=cuda.h
if printf '#include <cudaGL.h>\n' \
  | $CC -I"$toolkit" -fsyntax-only -x c - 2> /dev/null; then
  headers="cuda.h cudaGL.h"
else
  echo "no OpenGL headers here: cudaGL.h is not compared"
fi

includes=
for header in $headers; do
  cat "$ours/$header" >> "$work/ours.h"
  includes="$includes#include <$header>
"
done

# --- values: asked of our header by a program, told to the toolkit's ---------

sed -nE -e 's/^  (CU[A-Za-z0-9_]+) = .*/\1/p' \
  -e 's/^#define (CU_[A-Z0-9_]+) (0x)?[0-9]+$/\1/p' "$work/ours.h" \
  > "$work/values"

# --- layouts: "struct field" for every field, nested ones with a dot ---------

awk '
  function name_of (line) {
    sub (/;.*/, "", line); sub (/\[.*/, "", line)
    sub (/.*[ *]/, "", line)
    return line
  }
  /^typedef struct [A-Za-z0-9_]+$/ { depth = 0; count = nested = 0; next }
  /^ *\{$/ { depth++; next }
  /^ +struct$/ { next }
  depth == 2 && /^ +\}/ {
    for (i = 0; i < nested; i++) fields[count++] = name_of($0) "." inner[i]
    fields[count++] = name_of($0); nested = 0; depth--; next
  }
  depth == 1 && /^\} / {
    if (is_struct) for (i = 0; i < count; i++) print name_of($0), fields[i]
    depth = 0; count = 0; next
  }
  depth == 1 && /;$/ { fields[count++] = name_of($0); is_struct = 1 }
  depth == 2 && /;$/ { inner[nested++] = name_of($0) }
  /^typedef enum/ { is_struct = 0 }
' "$work/ours.h" > "$work/fields"

{
  printf '#include <stdio.h>\n%s' "$includes"
  printf '#define ASSERT(x) printf ("_Static_assert (%%s == %%lld, \\"%%s\\");\\n", #x, (long long) (x), #x)\n'
  printf 'int main (void)\n{\n'
  sed 's/.*/  ASSERT (&);/' "$work/values"
  sed -E 's/^([^ ]+) (.+)$/  ASSERT (offsetof (\1, \2));\n  ASSERT (sizeof (((\1 *) 0)->\2));/' \
    "$work/fields"
  cut -d' ' -f1 "$work/fields" | sort -u | sed 's/.*/  ASSERT (sizeof (&));/'
  printf '  return 0;\n}\n'
} > "$work/ask.c"
$CC -I"$ours" -o "$work/ask" "$work/ask.c"
"$work/ask" > "$work/asserts"

# --- types and prototypes ----------------------------------------------------

sed -nE \
  -e 's/^typedef ((unsigned )?[a-z0-9_ ]+) (CU[A-Za-z0-9_]+|cuuint[0-9]+_t);$/SAME (\3, \1)/p' \
  -e 's/^typedef (struct [A-Za-z0-9_]+ \*?)(CU[A-Za-z0-9_]+);$/SAME (\2, \1)/p' \
  "$work/ours.h" > "$work/types"

# The preprocessor gives each prototype the name of its symbol.
printf '%s' "$includes" | $CC -I"$ours" -E -P -x c - \
  | sed -nE 's/^(CUresult +(cu[A-Za-z0-9_]+) *\(.*\);)$/typedef __typeof__ (\2) toolkit_\2;\n\1/p' \
  > "$work/prototypes"

{
  printf '#define __CUDA_API_VERSION_INTERNAL\n%s' "$includes"
  printf '#include <stddef.h>\n'
  printf '#define SAME(a, b) _Static_assert (__builtin_types_compatible_p (a, b), #a);\n'
  cat "$work/asserts" "$work/types" "$work/prototypes"
  printf 'SAME (CUhostFn, void (*) (void *))\n'
  printf 'SAME (CUstreamCallback, void (*) (CUstream, CUresult, void *))\n'
} > "$work/compare.c"
$CC -I"$toolkit" -std=gnu11 -w -fsyntax-only "$work/compare.c"

echo "toolkit $version in $toolkit: $(wc -l < "$work/values") values," \
  "$(wc -l < "$work/fields") fields, $(wc -l < "$work/types") types and" \
  "$(grep -c ^CUresult "$work/prototypes") prototypes agree"

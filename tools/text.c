/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text that others wrote. A terminal is sent no control character of it, JSON nothing that is not UTF-8. */
#include "text.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The character at the start of the text, and its bytes; a byte that is no UTF-8 becomes '?'. */
static uint32_t
decode (const char *text, unsigned *ret_byte_count)
{
  static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
  const uint8_t *bytes = (const uint8_t *) text;
  const unsigned length = bytes[0] < 0x80 ? 1 : bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
  uint32_t c = length == 1 ? bytes[0] : bytes[0] & (0xffu >> (length + 1));

  *ret_byte_count = 1;
  if (length > 1 && (bytes[0] < 0xc0 || bytes[0] > 0xf4))
    return '?';
  for (unsigned i = 1; i < length; i++) {
    if ((bytes[i] & 0xc0) != 0x80)
      return '?';
    c = c << 6 | (bytes[i] & 0x3f);
  }
  if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
    return '?';
  *ret_byte_count = length;
  return c;
}

static bool
is_control (uint32_t c)
{
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* One character, so that a terminal shows it and does nothing. Its bytes in the text. */
static unsigned
put_visible (FILE *out, const char *text)
{
  unsigned length;
  const uint32_t c = decode (text, &length);

  if (is_control (c) || (c == '?' && *text != '?'))
    fputc ('?', out);
  else
    fwrite (text, 1, length, out);
  return length;
}

void
text_put (FILE *out, const char *text)
{
  while (*text != 0)
    text += put_visible (out, text);
}

/* As many characters as there are columns; what is cut ends in a tilde, what is short is filled up. */
void
text_put_field (FILE *out, const char *text, unsigned columns)
{
  for (; columns > 0 && *text != 0; columns--) {
    unsigned length;
    decode (text, &length);
    if (columns == 1 && text[length] != 0) {
      fputc ('~', out);
      return;
    }
    text += put_visible (out, text);
  }
  for (; columns > 0; columns--)
    fputc (' ', out);
}

/* Text of our own, already harmless, no longer than the columns. */
void
text_put_clipped (FILE *out, const char *text, unsigned columns)
{
  for (; columns > 0 && *text != 0; columns--)
    text += put_visible (out, text);
}

void
text_put_json (FILE *out, const char *text)
{
  fputc ('"', out);
  while (*text != 0) {
    unsigned length;
    const uint32_t c = decode (text, &length);
    if (c == '"' || c == '\\')
      fprintf (out, "\\%c", (char) c);
    else if (is_control (c))
      fprintf (out, "\\u%04x", c);
    else if (c == '?' && *text != '?')
      fputs ("\\ufffd", out);
    else
      fwrite (text, 1, length, out);
    text += length;
  }
  fputc ('"', out);
}

/* Seconds with a fraction, or "inf". */
bool
text_parse_seconds (const char *text, uint64_t minimum_ns, uint64_t *ret_ns)
{
  char *end;
  const double seconds = strtod (text, &end);

  if (end == text || *end != 0 || isnan (seconds) || seconds < 0)
    return false;
  *ret_ns = seconds > 1e9 ? UINT64_MAX : (uint64_t) (seconds * 1e9);
  return *ret_ns >= minimum_ns;
}

/* At least 1. */
bool
text_parse_count (const char *text, uint64_t *ret_count)
{
  char *end;
  unsigned long long count;

  errno = 0;
  count = strtoull (text, &end, 10);
  if (*text < '0' || *text > '9' || *end != 0 || errno != 0 || count == 0)
    return false;
  *ret_count = count;
  return true;
}

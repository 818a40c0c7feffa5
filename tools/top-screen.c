/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole screen of text, redrawn in place, on any terminal that knows the escape codes of the last forty years. */
#define _GNU_SOURCE
#include "top-screen.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "text.h"

static struct termios before;
static bool keys_are_ours, keys_have_ended;

/* False if standard output is no terminal. Keys are read where standard input is one as well. */
bool
top_screen_open (void)
{
  struct termios raw;

  if (!isatty (STDOUT_FILENO))
    return false;
  if (isatty (STDIN_FILENO) && tcgetattr (STDIN_FILENO, &before) == 0) {
    raw = before;
    raw.c_lflag &= (tcflag_t) ~ (ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    keys_are_ours = tcsetattr (STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  /* the other screen, no cursor */
  fputs ("\033[?1049h\033[?25l", stdout);
  fflush (stdout);
  return true;
}

void
top_screen_close (void)
{
  fputs ("\033[?25h\033[?1049l", stdout);
  fflush (stdout);
  if (keys_are_ours)
    tcsetattr (STDIN_FILENO, TCSANOW, &before);
  keys_are_ours = false;
}

static void
get_size (unsigned *ret_rows, unsigned *ret_columns)
{
  struct winsize size;

  *ret_rows = 24;
  *ret_columns = 80;
  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
    *ret_rows = size.ws_row;
    *ret_columns = size.ws_col;
  }
}

static unsigned
count_lines (const char *text)
{
  unsigned count = 0;

  for (; *text != 0; text++)
    count += *text == '\n';
  return count;
}

/* The first two lines stay; the others are scrolled by as many lines as there are to scroll. The text is cut up. */
void
top_screen_draw (char *text, unsigned *scroll)
{
  unsigned rows, columns, row = 0;
  const unsigned lines = count_lines (text);

  get_size (&rows, &columns);
  if (*scroll > 0 && *scroll + rows > lines)
    *scroll = lines > rows ? lines - rows : 0;
  fputs ("\033[H", stdout);
  for (unsigned i = 0; *text != 0 && row < rows; i++) {
    char *end = strchrnul (text, '\n');
    const bool is_last = *end == 0;
    *end = 0;
    if (i < 2 || i >= 2 + *scroll) {
      fputs (i == 1 ? "\033[7m" : "", stdout);
      text_put_clipped (stdout, text, columns);
      fputs (i == 1 ? "\033[K\033[0m" : "\033[K", stdout);
      row++;
      if (row < rows)
        fputs ("\r\n", stdout);
    }
    text = is_last ? end : end + 1;
  }
  fputs ("\033[J", stdout);
  fflush (stdout);
}

bool
top_screen_has_keys (void)
{
  return keys_are_ours && !keys_have_ended;
}

/* A key, or 0 if there is none and, the terminal being gone, will be none. An escape sequence comes as its parts. */
int
top_screen_read_key (void)
{
  char key;

  if (read (STDIN_FILENO, &key, 1) == 1)
    return (unsigned char) key;
  keys_have_ended = true;
  return 0;
}

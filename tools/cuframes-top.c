/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cuframes-top: every channel of a directory, live. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "exit-codes.h"
#include "standard-files.h"
#include "text.h"
#include "top-channels.h"
#include "top-screen.h"
#include "top-show.h"

#define PROGRAM "cuframes-top"
#define INTERVAL_MIN_NS 50000000u
#define INTERVAL_NS 1000000000u
/* A publisher that lives answers in well under this. */
#define ANSWER_NS 400000000u

typedef struct
{
  const char *directory;
  uint64_t interval_ns;
  uint64_t rounds;              /* 0: until it is told to end */
  TopOrder order;
  bool reverse;
  bool once;
  bool json;
  bool with_subscribers;
} Options;

static volatile sig_atomic_t signalled;
static sigset_t signals_while_waiting;

static void
on_signal (int number)
{
  if (number != SIGWINCH)
    signalled = number;
}

static const char usage[] =
    "Usage: " PROGRAM " [OPTION]... [CHANNEL]...\n"
    "Shows the channels of this host: format, memory, frames a second, subscribers, leases, drops, misses, age of the last frame.\n"
    "\n"
    "  CHANNEL                a channel's name, a socket's path (with a slash) or @name; all channels of the directory if none is given\n"
    "  -d, --directory=DIR    look there instead of $CUFRAMES_DIR, $XDG_RUNTIME_DIR/cuframes or /run/cuframes\n"
    "  -i, --interval=SECONDS between two looks, at least 0.05, inf for one look alone (1)\n"
    "  -s, --sort=KEY         name, fps, bitrate, subscribers, leases, drops, missed, age or memory (name)\n"
    "  -r, --reverse          sort the other way round\n"
    "  -c, --compact          no lines for subscribers\n"
    "  -1, --once             look for one interval, print and end\n"
    "  -n, --rounds=COUNT     end after so many looks\n"
    "  -j, --json             a line of JSON for each look\n"
    "  -h, --help             this text\n"
    "  -V, --version          the release\n"
    "\n"
    "Keys: q ends, s sorts by the next column, r the other way round, c shows or hides subscribers, j and k scroll.\n"
    "Exit status: 0 done, 1 failed, 2 wrong command line, 3 a named channel is not live (with --once).\n";

static int
complain (const char *text, const char *value)
{
  fprintf (stderr, PROGRAM ": %s", text);
  if (value != NULL) {
    fputs (": ", stderr);
    text_put (stderr, value);
  }
  fputc ('\n', stderr);
  return EXIT_CODE_USAGE;
}

static int
print (const char *text)
{
  if (fputs (text, stdout) != EOF && fflush (stdout) == 0)
    return EXIT_CODE_DONE;
  complain ("cannot write to standard output", strerror (errno));
  return EXIT_CODE_FAILED;
}

static bool
find_order (const char *name, TopOrder *ret_order)
{
  for (TopOrder order = 0; order < TOP_ORDERS; order++)
    if (strcmp (top_order_names[order], name) == 0) {
      *ret_order = order;
      return true;
    }
  return false;
}

/* -1 to go on, or the exit status. */
static int
take_option (Options *options, int option, char *argv[])
{
  switch (option) {
    case 'd':
      options->directory = optarg;
      return -1;
    case 'i':
      return text_parse_seconds (optarg, INTERVAL_MIN_NS, &options->interval_ns) ? -1 : complain ("the interval is no time of 0.05 s or more", optarg);
    case 's':
      return find_order (optarg, &options->order) ? -1 : complain ("there is nothing of that name to sort by", optarg);
    case 'n':
      return text_parse_count (optarg, &options->rounds) ? -1 : complain ("the number of looks is no number from 1", optarg);
    case 'r':
      options->reverse = true;
      return -1;
    case 'c':
      options->with_subscribers = false;
      return -1;
    case '1':
      options->once = true;
      return -1;
    case 'j':
      options->json = true;
      return -1;
    case 'h':
      return print (usage);
    case 'V':
      return print (PROGRAM " " VERSION "\n");
    case ':':
      return complain ("this option needs a value", argv[optind - 1]);
    default:
      return complain ("there is no such option; see --help", argv[optind - 1]);
  }
}

static int
take_options (Options *options, int argc, char *argv[])
{
  static const struct option names[] = {
    {"directory", required_argument, NULL, 'd'}, {"interval", required_argument, NULL, 'i'}, {"sort", required_argument, NULL, 's'},
    {"rounds", required_argument, NULL, 'n'}, {"reverse", no_argument, NULL, 'r'}, {"compact", no_argument, NULL, 'c'},
    {"once", no_argument, NULL, '1'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'}, {0},
  };
  int option, r = -1;

  opterr = 0;
  while (r < 0 && (option = getopt_long (argc, argv, ":d:i:s:n:rc1jhV", names, NULL)) != -1)
    r = take_option (options, option, argv);
  return r;
}

static int
open_channels (TopChannels *channels, const Options *options, int name_count, char *names[])
{
  int r = top_channels_init (channels, options->directory);

  if (r < 0)
    return complain ("the path of the directory is too long", options->directory);
  for (int i = 0; i < name_count; i++) {
    r = top_channels_add (channels, names[i]);
    if (r < 0)
      return complain (r == -ENAMETOOLONG ? "the path of the channel's socket is too long" : "this is no name of a channel", names[i]);
  }
  return -1;
}

static void
show (const TopChannels *channels, const Options *options, bool on_screen, unsigned *scroll)
{
  char *text = NULL;
  size_t size;
  FILE *out = on_screen ? open_memstream (&text, &size) : stdout;

  if (out == NULL)
    return;
  if (options->json)
    top_show_json (out, channels);
  else
    top_show_table (out, channels, options->order, options->with_subscribers);
  if (!on_screen) {
    fflush (out);
    return;
  }
  fclose (out);
  top_screen_draw (text, scroll);
  free (text);
}

/* Whether the key changes what is shown. */
static bool
take_key (Options *options, int key, unsigned *scroll)
{
  switch (key) {
    case 'q':
      signalled = SIGINT;
      return true;
    case 's':
      options->order = (options->order + 1) % TOP_ORDERS;
      return true;
    case 'r':
      options->reverse = !options->reverse;
      return true;
    case 'c':
      options->with_subscribers = !options->with_subscribers;
      return true;
    case 'j':
      ++*scroll;
      return true;
    case 'k':
      *scroll -= *scroll > 0;
      return true;
    default:
      return false;
  }
}

/* Until the time, a signal or a key that matters. */
static void
wait_until (Options *options, uint64_t then_ns, bool on_screen, unsigned *scroll)
{
  while (signalled == 0) {
    struct pollfd input = {.fd = on_screen && top_screen_has_keys ()? STDIN_FILENO : -1,.events = POLLIN };
    const uint64_t now = top_now_ns (), left = then_ns > now ? then_ns - now : 0;
    const struct timespec timeout = { (time_t) (left / 1000000000u), (long) (left % 1000000000u) };
    if (left == 0)
      return;
    if (ppoll (&input, 1, &timeout, &signals_while_waiting) < 0)
      return;
    if (input.revents != 0 && take_key (options, top_screen_read_key (), scroll))
      return;
  }
}

static int
run (TopChannels *channels, Options *options, bool on_screen)
{
  const uint64_t answer_ns = options->interval_ns < ANSWER_NS ? options->interval_ns : ANSWER_NS;
  uint64_t looks = 0, next_ns = 0;
  unsigned scroll = 0;
  int r = 0;

  while (signalled == 0) {
    const uint64_t now = top_now_ns ();
    if (now >= next_ns) {
      next_ns = options->interval_ns > UINT64_MAX - now ? UINT64_MAX : now + options->interval_ns;
      r = top_channels_look (channels, answer_ns);
      looks++;
    }
    if (r < 0)
      return r;
    top_channels_sort (channels, options->order, options->reverse);
    if (!options->once || looks == 2)
      show (channels, options, on_screen, &scroll);
    if ((options->once && looks == 2) || (options->rounds != 0 && looks >= options->rounds) || ferror (stdout))
      return 0;
    wait_until (options, next_ns, on_screen, &scroll);
  }
  return 0;
}

/* They are heard only while we wait, so that none is missed. */
static void
catch_signals (void)
{
  static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH };
  const struct sigaction action = {.sa_handler = on_signal };
  sigset_t ours;

  sigemptyset (&ours);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    sigaddset (&ours, numbers[i]);
    sigaction (numbers[i], &action, NULL);
  }
  sigprocmask (SIG_BLOCK, &ours, &signals_while_waiting);
}

static bool
is_any_named_missing (const TopChannels *channels)
{
  for (uint32_t i = 0; i < channels->count; i++)
    if (channels->channels[i]->is_named && channels->channels[i]->state != TOP_CHANNEL_LIVE)
      return true;
  return false;
}

int
main (int argc, char *argv[])
{
  Options options = {.interval_ns = INTERVAL_NS,.with_subscribers = true };
  TopChannels channels = { 0 };
  bool on_screen;
  const bool has_output = standard_files_hold ();
  int status = take_options (&options, argc, argv), r;

  if (status < 0 && !has_output) {
    complain ("standard output is closed", NULL);
    return EXIT_CODE_FAILED;
  }
  if (status < 0)
    status = open_channels (&channels, &options, argc - optind, argv + optind);
  if (status >= 0) {
    top_channels_clear (&channels);
    return status;
  }
  catch_signals ();
  on_screen = !options.once && !options.json && top_screen_open ();
  r = run (&channels, &options, on_screen);
  if (on_screen)
    top_screen_close ();
  status = options.once && is_any_named_missing (&channels) ? EXIT_CODE_NO_CHANNEL : EXIT_CODE_DONE;
  if (r < 0) {
    complain (strerror (-r), channels.directory);
    status = EXIT_CODE_FAILED;
  } else if (ferror (stdout) || fflush (stdout) != 0) {
    complain ("cannot write to standard output", NULL);
    status = EXIT_CODE_FAILED;
  }
  top_channels_clear (&channels);
  return status;
}

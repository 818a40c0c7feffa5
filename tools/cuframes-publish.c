/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cuframes-publish: a camera or a file, opened once, as frames and as packets. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exit-codes.h"
#include "publish-session.h"
#include "standard-files.h"
#include "text.h"

#define PROGRAM "cuframes-publish"
#define LATENCY_MS 200
#define TIMEOUT_NS (30 * GST_SECOND)
#define STALL_NS (10 * GST_SECOND)
#define INTERVAL_NS GST_SECOND
#define INTERVAL_MIN_NS (100 * GST_MSECOND)

typedef struct
{
  PublishSessionConfig session;
  char *source;
  gboolean has_overflow;
  gboolean as_json, is_quiet;
  gchar *texts[2];              /* made for settings */
} Options;

static const char usage[] =
    "Usage: " PROGRAM " [OPTION]... --channel=NAME SOURCE\n"
    "Opens a camera or a file once and publishes its decoded frames on channel NAME and its packets, as they are, on NAME.packets.\n"
    "\n"
    "  SOURCE                     rtsp://, http:// or another URI, a file, or /dev/videoN (v4l2:///dev/videoN); user:password@ may stand in a URI\n"
    "  -c, --channel=NAME         the channel\n"
    "      --no-packets           no NAME.packets\n"
    "      --no-frames            no NAME: nothing is decoded\n"
    "  -a, --audio                the source's first sound, encoded as it is, on NAME.audio\n"
    "  -d, --decoder=WHICH        nvidia, software, or auto: an NVIDIA one if it can be used (auto)\n"
    "      --realtime             a file at its own speed, not as fast as it is read\n"
    "      --loop                 a file again and again\n"
    "  -L, --latency=MS           how long to wait for packets that are late (200)\n"
    "      --transport=HOW        of RTSP: tcp, udp, udp-mcast, or auto: udp first (tcp)\n"
    "      --caps=CAPS            what to ask of a V4L2 device, such as image/jpeg,width=1280,height=720\n"
    "  -t, --timeout=SECONDS      how long to try until the first picture, inf for ever (30)\n"
    "      --stall=SECONDS        a camera without a picture for so long is gone (10)\n"
    "      --no-reconnect         end when the camera goes\n"
    "      --slots=COUNT, --overflow=drop|wait|evict, --overflow-timeout=SECONDS, --max-subscribers=COUNT, --max-leases=COUNT,\n"
    "      --wait-for-subscribers=COUNT, --packet-ring-bytes=BYTES, --packet-ring-packets=COUNT, --socket-mode=OCTAL, --allow-uids=LIST,\n"
    "      --allow-gids=LIST      as the properties of cuframessink\n"
    "  -i, --interval=SECONDS     between two lines of status, at least 0.1 (1)\n"
    "  -j, --json                 status and events as lines of JSON on standard output\n"
    "  -q, --quiet                no status\n"
    "  -h, --help                 this text\n"
    "  -V, --version              the release\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong command line, 3 the channel cannot be opened, 4 the source cannot be opened.\n";

static int
complain (int status, const char *text, const char *value)
{
  fprintf (stderr, PROGRAM ": ");
  text_put (stderr, text);
  if (value != NULL) {
    fputs (": ", stderr);
    text_put (stderr, value);
  }
  fputc ('\n', stderr);
  return status;
}

static int
print (const char *text)
{
  if (fputs (text, stdout) != EOF && fflush (stdout) == 0)
    return EXIT_CODE_DONE;
  return complain (EXIT_CODE_FAILED, "cannot write to standard output", strerror (errno));
}

/* Options that stand for a property of the sinks, by number from SETTING. */
enum
{
  NO_PACKETS = 256,
  NO_FRAMES,
  REALTIME,
  LOOP,
  TRANSPORT,
  CAPS,
  STALL,
  NO_RECONNECT,
  OVERFLOW_TIMEOUT,
  SOCKET_MODE,
  SETTING,
};

static const struct option names[] = {
  {"channel", required_argument, NULL, 'c'}, {"no-packets", no_argument, NULL, NO_PACKETS}, {"no-frames", no_argument, NULL, NO_FRAMES},
  {"audio", no_argument, NULL, 'a'}, {"decoder", required_argument, NULL, 'd'}, {"realtime", no_argument, NULL, REALTIME},
  {"loop", no_argument, NULL, LOOP}, {"latency", required_argument, NULL, 'L'}, {"transport", required_argument, NULL, TRANSPORT},
  {"caps", required_argument, NULL, CAPS}, {"timeout", required_argument, NULL, 't'}, {"stall", required_argument, NULL, STALL},
  {"no-reconnect", no_argument, NULL, NO_RECONNECT}, {"slots", required_argument, NULL, SETTING}, {"overflow", required_argument, NULL, SETTING},
  {"overflow-timeout", required_argument, NULL, OVERFLOW_TIMEOUT}, {"max-subscribers", required_argument, NULL, SETTING},
  {"max-leases", required_argument, NULL, SETTING}, {"packet-ring-bytes", required_argument, NULL, SETTING},
  {"packet-ring-packets", required_argument, NULL, SETTING}, {"wait-for-subscribers", required_argument, NULL, SETTING},
  {"socket-mode", required_argument, NULL, SOCKET_MODE}, {"allow-uids", required_argument, NULL, SETTING}, {"allow-gids", required_argument, NULL, SETTING},
  {"interval", required_argument, NULL, 'i'}, {"json", no_argument, NULL, 'j'}, {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'},
  {"version", no_argument, NULL, 'V'}, {0},
};

/* The last one of a name counts. */
static void
put_setting (Options *options, const char *name, const gchar *value)
{
  PublishOutputConfig *output = &options->session.output;
  guint i = 0;

  while (i < output->setting_count && strcmp (output->settings[i].option, name) != 0)
    i++;
  g_assert (i < PUBLISH_SETTINGS_MAX);
  output->settings[i] = (PublishSetting) {.option = name,.property = name,.value = value };
  output->setting_count = MAX (output->setting_count, i + 1);
  options->has_overflow |= strcmp (name, "overflow") == 0;
}

static int
take_overflow_timeout (Options *options, const char *text)
{
  guint64 timeout_ns;

  if (!text_parse_seconds (text, 0, &timeout_ns))
    return complain (EXIT_CODE_USAGE, "the timeout is no time in seconds", text);
  g_free (options->texts[0]);
  options->texts[0] = g_strdup_printf ("%" G_GUINT64_FORMAT, timeout_ns);
  put_setting (options, "overflow-timeout", options->texts[0]);
  return -1;
}

static int
take_socket_mode (Options *options, const char *text)
{
  char *rest;
  const unsigned long mode = strtoul (text, &rest, 8);

  if (*text < '0' || *text > '7' || *rest != 0 || mode > 0777)
    return complain (EXIT_CODE_USAGE, "the mode is no octal number up to 777", text);
  g_free (options->texts[1]);
  options->texts[1] = g_strdup_printf ("%lu", mode);
  put_setting (options, "socket-mode", options->texts[1]);
  return -1;
}

static int
take_choice (const char *text, const char *const choices[], const char *what, guint *ret_index)
{
  for (guint i = 0; choices[i] != NULL; i++)
    if (strcmp (text, choices[i]) == 0) {
      *ret_index = i;
      return -1;
    }
  return complain (EXIT_CODE_USAGE, what, text);
}

static int
take_decoder (Options *options, const char *text)
{
  static const char *const kinds[] = { "auto", "nvidia", "software", NULL };
  guint index = 0;
  const int r = take_choice (text, kinds, "the decoder is neither auto nor nvidia nor software", &index);

  options->session.input.decoder = (PublishDecoderKind) index;
  return r;
}

static int
take_transport (Options *options, const char *text)
{
  static const char *const kinds[] = { "tcp", "udp", "udp-mcast", "auto", NULL };
  guint index = 0;
  const int r = take_choice (text, kinds, "the transport is none of tcp, udp, udp-mcast and auto", &index);

  options->session.input.transport = kinds[index];
  return r;
}

static int
take_latency (Options *options, const char *text)
{
  char *rest;
  const unsigned long latency_ms = strtoul (text, &rest, 10);

  if (*text < '0' || *text > '9' || *rest != 0 || latency_ms > 60000)
    return complain (EXIT_CODE_USAGE, "the latency is no number of milliseconds up to 60000", text);
  options->session.input.latency_ms = (guint) latency_ms;
  return -1;
}

static int
take_time (const char *text, guint64 minimum_ns, const char *what, guint64 *ret_ns)
{
  return text_parse_seconds (text, minimum_ns, ret_ns) ? -1 : complain (EXIT_CODE_USAGE, what, text);
}

static int
take_flag (Options *options, int option)
{
  switch (option) {
    case NO_PACKETS:
      options->session.output.lanes[PUBLISH_LANE_PACKETS] = FALSE;
      return -1;
    case NO_FRAMES:
      options->session.output.lanes[PUBLISH_LANE_FRAMES] = FALSE;
      return -1;
    case 'a':
      options->session.output.lanes[PUBLISH_LANE_AUDIO] = TRUE;
      return -1;
    case REALTIME:
      options->session.input.realtime = TRUE;
      return -1;
    case LOOP:
      options->session.loop = TRUE;
      return -1;
    case NO_RECONNECT:
      options->session.reconnect = FALSE;
      return -1;
    case 'j':
      options->as_json = TRUE;
      return -1;
    case 'q':
      options->is_quiet = TRUE;
      return -1;
    case 'h':
      return print (usage);
    default:
      return print (PROGRAM " " VERSION "\n");
  }
}

/* -1 to go on, or the exit status. */
static int
take_option (Options *options, int option, int index, char *argv[])
{
  switch (option) {
    case 'c':
      options->session.output.channel = optarg;
      return -1;
    case 'd':
      return take_decoder (options, optarg);
    case 'L':
      return take_latency (options, optarg);
    case TRANSPORT:
      return take_transport (options, optarg);
    case CAPS:
      options->session.input.caps = optarg;
      return -1;
    case 't':
      return take_time (optarg, 0, "the timeout is no time in seconds", &options->session.timeout_ns);
    case STALL:
      return take_time (optarg, GST_SECOND, "the time to stall is no time of 1 s or more", &options->session.stall_ns);
    case 'i':
      return take_time (optarg, INTERVAL_MIN_NS, "the interval is no time of 0.1 s or more", &options->session.interval_ns);
    case OVERFLOW_TIMEOUT:
      return take_overflow_timeout (options, optarg);
    case SOCKET_MODE:
      return take_socket_mode (options, optarg);
    case SETTING:
      put_setting (options, names[index].name, optarg);
      return -1;
    case ':':
      return complain (EXIT_CODE_USAGE, "this option needs a value", argv[optind - 1]);
    case '?':
      return complain (EXIT_CODE_USAGE, "there is no such option; see --help", argv[optind - 1]);
    default:
      return take_flag (options, option);
  }
}

static int
check_options (const Options *options)
{
  const PublishOutputConfig *output = &options->session.output;

  if (options->source == NULL || output->channel == NULL || *output->channel == 0)
    return complain (EXIT_CODE_USAGE, "name a source and a --channel; see --help", NULL);
  if (!output->lanes[PUBLISH_LANE_FRAMES] && !output->lanes[PUBLISH_LANE_PACKETS])
    return complain (EXIT_CODE_USAGE, "with --no-frames and --no-packets nothing is left to publish", NULL);
  return -1;
}

static int
take_options (Options *options, int argc, char *argv[])
{
  int option, index = 0, r = -1;

  opterr = 0;
  while (r < 0 && (option = getopt_long (argc, argv, ":c:ad:L:t:i:jqhV", names, &index)) != -1)
    r = take_option (options, option, index, argv);
  if (r < 0 && optind < argc)
    options->source = argv[optind++];
  if (r < 0 && optind < argc)
    return complain (EXIT_CODE_USAGE, "one source at a time", argv[optind]);
  return r < 0 ? check_options (options) : r;
}

static int
check_caps (const char *text)
{
  GstCaps *caps = text == NULL ? NULL : gst_caps_from_string (text);

  if (text != NULL && caps == NULL)
    return complain (EXIT_CODE_USAGE, "these are no caps", text);
  gst_clear_caps (&caps);
  return -1;
}

/* Every user of the host can read a process's command line. */
static void
hide_secret (Options *options)
{
  const gchar *secret = options->session.place.secret;
  char *found = secret == NULL ? NULL : strstr (options->source, secret);

  if (found != NULL)
    memset (found, '*', strlen (secret) - 1);
}

static int
open_place (Options *options)
{
  GError *error = NULL;
  int status = EXIT_CODE_NO_SOURCE;
  const bool good = publish_place_init (&options->session.place, options->source, &error);

  hide_secret (options);
  if (good)
    return -1;
  if (g_error_matches (error, PUBLISH_PLACE_ERROR, PUBLISH_PLACE_ERROR_UNKNOWN))
    status = EXIT_CODE_USAGE;
  complain (status, error->message, NULL);
  g_error_free (error);
  return status;
}

/* What has no meaning for the source is a mistake. */
static int
check_source (const Options *options)
{
  const PublishSessionConfig *session = &options->session;

  if (session->input.caps != NULL && session->place.kind != PUBLISH_PLACE_DEVICE)
    return complain (EXIT_CODE_USAGE, "--caps is for V4L2 devices, which this is not", session->place.shown);
  if ((session->loop || session->input.realtime) && publish_place_is_live (&session->place))
    return complain (EXIT_CODE_USAGE, "--loop and --realtime are for files, which this is not", session->place.shown);
  return -1;
}

static int
run (Options *options)
{
  PublishReport report;
  GError *error = NULL;
  int status;

  if (!gst_init_check (NULL, NULL, &error)) {
    complain (EXIT_CODE_FAILED, error != NULL ? error->message : "GStreamer cannot be started", NULL);
    g_clear_error (&error);
    return EXIT_CODE_FAILED;
  }
  status = check_caps (options->session.input.caps);
  if (status < 0)
    status = open_place (options);
  if (status < 0)
    status = check_source (options);
  if (status >= 0)
    return status;
  /* A file that is read as fast as it goes waits for those who read it. */
  if (!options->has_overflow && !publish_place_is_live (&options->session.place) && !options->session.input.realtime)
    put_setting (options, "overflow", "wait");
  publish_report_init (&report, options->session.output.channel, options->as_json, options->is_quiet);
  status = publish_session_run (&options->session, &report);
  publish_report_clear (&report);
  return status;
}

int
main (int argc, char *argv[])
{
  Options options = {.session = {
      .input = {.latency_ms = LATENCY_MS,.transport = "tcp" },
      .output = {.lanes = {[PUBLISH_LANE_FRAMES] = TRUE,[PUBLISH_LANE_PACKETS] = TRUE } },
      .reconnect = TRUE,.timeout_ns = TIMEOUT_NS,.stall_ns = STALL_NS,.interval_ns = INTERVAL_NS,
    }
  };
  const bool has_output = standard_files_hold ();
  int status = take_options (&options, argc, argv);

  signal (SIGPIPE, SIG_IGN);
  options.is_quiet |= !has_output;
  if (status < 0)
    status = run (&options);
  publish_place_clear (&options.session.place);
  for (guint i = 0; i < G_N_ELEMENTS (options.texts); i++)
    g_free (options.texts[i]);
  return status;
}

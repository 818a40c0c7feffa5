/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cuframes-cat: the frames of a channel on standard output, or one of them as a picture. */
#include <errno.h>
#include <getopt.h>
#include <gst/video/video.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cat-output.h"
#include "cat-source.h"
#include "cat-y4m.h"
#include "exit-codes.h"
#include "text.h"

#define PROGRAM "cuframes-cat"
#define TIMEOUT_NS (5 * GST_SECOND)
#define PNG_NS (30 * GST_SECOND)

typedef enum
{
  FORMAT_Y4M,
  FORMAT_RAW,
} Format;

typedef struct
{
  CatSourceConfig source;
  Format format;
  guint64 frames;               /* 0: all */
  const char *png;
  bool verbose;
} Options;

typedef struct
{
  const Options *options;
  guint64 written;
  GstVideoInfo info;            /* of the first frame */
} Writer;

static const char usage[] =
    "Usage: " PROGRAM " [OPTION]... CHANNEL\n"
    "Writes the frames of a channel to standard output, for example:\n"
    "  " PROGRAM " cam1 | ffmpeg -i - cam1.mkv\n"
    "\n"
    "      --channel=NAME      the same as CHANNEL\n"
    "  -S, --socket-path=PATH  a socket's path or @name instead of a channel\n"
    "  -f, --format=FORMAT     y4m, or raw: the pixels as they are, without padding (y4m)\n"
    "  -p, --png=FILE          write one frame to FILE as a PNG and end; - is standard output\n"
    "  -n, --frames=COUNT      end after so many frames\n"
    "  -l, --latest            skip frames rather than fall behind\n"
    "  -t, --timeout=SECONDS   how long to wait for the publisher, inf for ever (5)\n"
    "  -r, --reconnect         wait for the publisher when it goes, and go on\n"
    "  -v, --verbose           say on standard error what is written\n"
    "  -h, --help              this text\n"
    "  -V, --version           the release\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong command line, 3 nobody publishes there or the publisher says no.\n";

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

static bool
parse_format (const char *text, Format *ret_format)
{
  if (strcmp (text, "y4m") != 0 && strcmp (text, "raw") != 0)
    return false;
  *ret_format = text[0] == 'y' ? FORMAT_Y4M : FORMAT_RAW;
  return true;
}

/* -1 to go on, or the exit status. */
static int
take_option (Options *options, int option, char *argv[])
{
  switch (option) {
    case 'C':
      options->source.channel = optarg;
      return -1;
    case 'S':
      options->source.socket_path = optarg;
      return -1;
    case 'f':
      return parse_format (optarg, &options->format) ? -1 : complain (EXIT_CODE_USAGE, "the format is neither y4m nor raw", optarg);
    case 'p':
      options->png = optarg;
      return -1;
    case 'n':
      return text_parse_count (optarg, &options->frames) ? -1 : complain (EXIT_CODE_USAGE, "the number of frames is no number from 1", optarg);
    case 'l':
      options->source.latest = TRUE;
      return -1;
    case 't':
      return text_parse_seconds (optarg, 0, &options->source.timeout_ns) ? -1 : complain (EXIT_CODE_USAGE, "the timeout is no time in seconds", optarg);
    case 'r':
      options->source.reconnect = TRUE;
      return -1;
    case 'v':
      options->verbose = true;
      return -1;
    case 'h':
      fputs (usage, stdout);
      return EXIT_CODE_DONE;
    case 'V':
      puts (PROGRAM " " VERSION);
      return EXIT_CODE_DONE;
    case ':':
      return complain (EXIT_CODE_USAGE, "this option needs a value", argv[optind - 1]);
    default:
      return complain (EXIT_CODE_USAGE, "there is no such option; see --help", argv[optind - 1]);
  }
}

static int
take_options (Options *options, int argc, char *argv[])
{
  static const struct option names[] = {
    {"channel", required_argument, NULL, 'C'}, {"socket-path", required_argument, NULL, 'S'}, {"format", required_argument, NULL, 'f'},
    {"png", required_argument, NULL, 'p'}, {"frames", required_argument, NULL, 'n'}, {"latest", no_argument, NULL, 'l'},
    {"timeout", required_argument, NULL, 't'}, {"reconnect", no_argument, NULL, 'r'}, {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
  };
  int option, r = -1;

  opterr = 0;
  while (r < 0 && (option = getopt_long (argc, argv, ":S:f:p:n:lt:rvhV", names, NULL)) != -1)
    r = take_option (options, option, argv);
  if (r < 0 && optind < argc && options->source.channel == NULL)
    options->source.channel = argv[optind++];
  if (r < 0 && optind < argc)
    return complain (EXIT_CODE_USAGE, "one channel at a time", argv[optind]);
  if (r < 0 && (options->source.channel == NULL) == (options->source.socket_path == NULL))
    return complain (EXIT_CODE_USAGE, "name a channel, or a socket with --socket-path, and not both; see --help", NULL);
  if (r < 0 && (options->png == NULL || strcmp (options->png, "-") == 0) && isatty (STDOUT_FILENO))
    return complain (EXIT_CODE_USAGE, "standard output is a terminal: send it to a file or a program, or write a picture with --png=FILE", NULL);
  return r;
}

static void
explain (const GstCaps *caps, const Options *options)
{
  gchar *text = gst_caps_to_string (caps);

  fprintf (stderr, PROGRAM ": %s of ", options->png != NULL ? "a picture" : options->format == FORMAT_Y4M ? "Y4M" : "raw frames");
  text_put (stderr, text);
  fputc ('\n', stderr);
  g_free (text);
}

static CatOutputResult
write_png (const char *name, GstSample *sample, GError **error)
{
  GstCaps *caps = gst_caps_new_empty_simple ("image/png");
  GstSample *picture = gst_video_convert_sample (sample, caps, PNG_NS, error);
  CatOutputResult result = CAT_OUTPUT_FAILED;
  GstMapInfo map;

  gst_caps_unref (caps);
  if (picture == NULL)
    return CAT_OUTPUT_FAILED;
  if (gst_buffer_map (gst_sample_get_buffer (picture), &map, GST_MAP_READ)) {
    if (strcmp (name, "-") == 0)
      result = cat_output_write (STDOUT_FILENO, map.data, map.size);
    else
      result = g_file_set_contents (name, (const gchar *) map.data, (gssize) map.size, error) ? CAT_OUTPUT_OK : CAT_OUTPUT_FAILED;
    gst_buffer_unmap (gst_sample_get_buffer (picture), &map);
  }
  gst_sample_unref (picture);
  return result;
}

/* Y4M and raw streams have one format from end to end. */
static bool
is_like_the_first (Writer *writer, const GstVideoInfo *info, GError **error)
{
  const GstVideoInfo *first = &writer->info;

  if (GST_VIDEO_INFO_FORMAT (info) == GST_VIDEO_INFO_FORMAT (first) && info->width == first->width && info->height == first->height)
    return true;
  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The channel's format has changed from %s %dx%d to %s %dx%d: start again",
      gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (first)), first->width, first->height,
      gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (info)), info->width, info->height);
  return false;
}

static CatOutputResult
write_start (Writer *writer, GstSample *sample)
{
  CatOutputResult result = CAT_OUTPUT_OK;
  gchar *header;

  if (writer->options->verbose && writer->written == 0)
    explain (gst_sample_get_caps (sample), writer->options);
  if (writer->options->format == FORMAT_RAW)
    return result;
  if (writer->written == 0) {
    header = cat_y4m_make_header (&writer->info);
    result = cat_output_write (STDOUT_FILENO, header, strlen (header));
    g_free (header);
  }
  return result == CAT_OUTPUT_OK ? cat_output_write (STDOUT_FILENO, CAT_Y4M_FRAME, strlen (CAT_Y4M_FRAME)) : result;
}

static CatOutputResult
write_sample (Writer *writer, GstSample *sample, GError **error)
{
  CatOutputResult result;
  GstVideoFrame frame;
  GstVideoInfo info;

  errno = EILSEQ;
  if (!gst_video_info_from_caps (&info, gst_sample_get_caps (sample)))
    return CAT_OUTPUT_FAILED;
  if (writer->written == 0)
    writer->info = info;
  if (!is_like_the_first (writer, &info, error) || !gst_video_frame_map (&frame, &info, gst_sample_get_buffer (sample), GST_MAP_READ))
    return CAT_OUTPUT_FAILED;
  result = write_start (writer, sample);
  if (result == CAT_OUTPUT_OK)
    result = cat_output_write_frame (STDOUT_FILENO, &frame);
  gst_video_frame_unmap (&frame);
  writer->written += result == CAT_OUTPUT_OK;
  return result;
}

/* -1 to go on, or the exit status. */
static int
take_sample (Writer *writer, GstSample *sample)
{
  const Options *options = writer->options;
  GError *error = NULL;
  CatOutputResult result;
  int status = EXIT_CODE_DONE;

  if (options->png != NULL && options->verbose)
    explain (gst_sample_get_caps (sample), options);
  result = options->png != NULL ? write_png (options->png, sample, &error) : write_sample (writer, sample, &error);
  if (result == CAT_OUTPUT_FAILED)
    status = complain (EXIT_CODE_FAILED, error != NULL ? error->message : "cannot write", error != NULL ? NULL : strerror (errno));
  else if (result == CAT_OUTPUT_OK && options->png == NULL && writer->written != options->frames)
    status = -1;
  g_clear_error (&error);
  gst_sample_unref (sample);
  return status;
}

static const char *
name_channel (const CatSourceConfig *config)
{
  return config->socket_path != NULL ? config->socket_path : config->channel;
}

/* -1 to go on, or the exit status. */
static int
take_next (Writer *writer, CatSource *source)
{
  GError *error = NULL;
  GstSample *sample;
  int status = -1;

  switch (cat_source_next (source, &sample, &error)) {
    case CAT_SOURCE_FRAME:
      return take_sample (writer, sample);
    case CAT_SOURCE_NOTHING:
      return -1;
    case CAT_SOURCE_ENDED:
      return writer->options->png == NULL ? EXIT_CODE_DONE : complain (EXIT_CODE_FAILED, "the channel ended before it brought a frame", NULL);
    case CAT_SOURCE_NO_CHANNEL:
      status = EXIT_CODE_NO_CHANNEL;
      break;
    case CAT_SOURCE_BAD_NAME:
      status = EXIT_CODE_USAGE;
      break;
    case CAT_SOURCE_FAILED:
      status = EXIT_CODE_FAILED;
  }
  if (g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND))
    complain (status, "nobody publishes there: start the publisher, or wait longer with --timeout", name_channel (&writer->options->source));
  else
    complain (status, error->message, NULL);
  g_clear_error (&error);
  return status;
}

static int
run (const Options *options)
{
  Writer writer = {.options = options };
  GError *error = NULL;
  CatSource *source = cat_source_open (&options->source, &error);
  CatOutputResult result = CAT_OUTPUT_OK;
  int status = -1;

  if (source == NULL) {
    complain (EXIT_CODE_FAILED, error->message, NULL);
    g_error_free (error);
    return EXIT_CODE_FAILED;
  }
  while (status < 0 && result == CAT_OUTPUT_OK) {
    struct pollfd polls[3] = {
      {.fd = cat_source_peek_bus_fd (source),.events = POLLIN},
      {.fd = cat_source_peek_frame_fd (source),.events = POLLIN},
    };
    result = cat_output_wait (polls, 2, options->png == NULL ? STDOUT_FILENO : -1);
    if (result == CAT_OUTPUT_OK)
      status = take_next (&writer, source);
  }
  cat_source_close (source);
  if (status < 0 && result == CAT_OUTPUT_FAILED)
    status = complain (EXIT_CODE_FAILED, "cannot wait", strerror (errno));
  else if (status < 0)
    status = options->png == NULL ? EXIT_CODE_DONE : complain (EXIT_CODE_FAILED, "stopped before a frame came", NULL);
  if (options->verbose && options->png == NULL)
    fprintf (stderr, PROGRAM ": %" G_GUINT64_FORMAT " frames\n", writer.written);
  return status;
}

int
main (int argc, char *argv[])
{
  Options options = {.source = {.timeout_ns = TIMEOUT_NS } };
  int status = take_options (&options, argc, argv);
  GError *error = NULL;

  if (status >= 0)
    return status;
  cat_output_catch_signals ();
  if (!gst_init_check (NULL, NULL, &error)) {
    complain (EXIT_CODE_FAILED, error != NULL ? error->message : "GStreamer cannot be started", NULL);
    g_clear_error (&error);
    return EXIT_CODE_FAILED;
  }
  options.source.as_y4m = options.format == FORMAT_Y4M && options.png == NULL;
  return run (&options);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cuframes-cat: the frames or the packets of a channel on standard output, or one of them as a picture. */
#include <errno.h>
#include <getopt.h>
#include <gst/video/video.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cat-output.h"
#include "cat-source.h"
#include "cat-y4m.h"
#include "exit-codes.h"
#include "standard-files.h"
#include "text.h"

#define PROGRAM "cuframes-cat"
#define TIMEOUT_NS (5 * GST_SECOND)
#define PNG_NS (30 * GST_SECOND)

typedef struct
{
  CatSourceConfig source;
  const char *png;
  bool verbose;
} Options;

typedef struct
{
  const Options *options;
  guint64 written;              /* frames, or pieces of a stream of packets */
  guint64 byte_count;           /* of those */
  GstVideoInfo info;            /* of the first frame */
} Writer;

static const char usage[] =
    "Usage: " PROGRAM " [OPTION]... CHANNEL\n"
    "Writes the frames or the packets of a channel to standard output, for example:\n"
    "  " PROGRAM " cam1 | ffmpeg -i - cam1.mkv\n"
    "  " PROGRAM " cam1.packets | ffmpeg -i - -c copy cam1.mp4\n"
    "\n"
    "      --channel=NAME      the same as CHANNEL\n"
    "  -S, --socket-path=PATH  a socket's path or @name instead of a channel\n"
    "  -f, --format=FORMAT     of frames y4m, or raw: the pixels as they are, without padding (y4m);\n"
    "                          of packets mkv, ts, or es: one behind the other, H.264 and H.265 as Annex B (mkv)\n"
    "  -p, --png=FILE          write one frame to FILE as a PNG and end; - is standard output\n"
    "  -n, --frames=COUNT      end after so many frames or packets\n"
    "  -l, --latest            skip frames rather than fall behind\n"
    "  -s, --start=WHERE       latest: the newest frame or key picture, next, or oldest: what was there before, too (latest)\n"
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

static int
print (const char *text)
{
  if (fputs (text, stdout) != EOF && fflush (stdout) == 0)
    return EXIT_CODE_DONE;
  return complain (EXIT_CODE_FAILED, "cannot write to standard output", strerror (errno));
}

static int
take_format (Options *options, const char *text)
{
  static const struct
  {
    const char *name;
    CatFormat format;
  } formats[] = { {"y4m", CAT_FORMAT_Y4M}, {"raw", CAT_FORMAT_RAW}, {"es", CAT_FORMAT_ES}, {"ts", CAT_FORMAT_TS}, {"mkv", CAT_FORMAT_MKV} };

  for (size_t i = 0; i < G_N_ELEMENTS (formats); i++)
    if (strcmp (text, formats[i].name) == 0) {
      options->source.format = formats[i].format;
      return -1;
    }
  return complain (EXIT_CODE_USAGE, "the format is none of y4m, raw, es, ts and mkv", text);
}

static int
take_start (Options *options, const char *text)
{
  if (strcmp (text, "latest") != 0 && strcmp (text, "next") != 0 && strcmp (text, "oldest") != 0)
    return complain (EXIT_CODE_USAGE, "the start is none of latest, next and oldest", text);
  options->source.start = text;
  return -1;
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
      return take_format (options, optarg);
    case 's':
      return take_start (options, optarg);
    case 'p':
      options->png = optarg;
      return -1;
    case 'n':
      return text_parse_count (optarg, &options->source.count) ? -1 : complain (EXIT_CODE_USAGE, "the number of frames is no number from 1", optarg);
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
      return print (usage);
    case 'V':
      return print (PROGRAM " " VERSION "\n");
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
    {"png", required_argument, NULL, 'p'}, {"frames", required_argument, NULL, 'n'}, {"latest", no_argument, NULL, 'l'}, {"start", required_argument, NULL, 's'},
    {"timeout", required_argument, NULL, 't'}, {"reconnect", no_argument, NULL, 'r'}, {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
  };
  int option, r = -1;

  opterr = 0;
  while (r < 0 && (option = getopt_long (argc, argv, ":S:f:p:n:ls:t:rvhV", names, NULL)) != -1)
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

  fprintf (stderr, PROGRAM ": %s of ", options->png != NULL ? "a picture" : options->source.format <= CAT_FORMAT_Y4M ? "Y4M" : "raw frames");
  text_put (stderr, text);
  fputc ('\n', stderr);
  g_free (text);
}

/* A file is there whole or not at all. Devices, pipes and links are written to, as a shell would: their names are not ours to replace. */
static CatOutputResult
write_file (const char *name, const void *bytes, size_t byte_count, GError **error)
{
  CatOutputResult result;
  int fd, error_number;
  struct stat status;

  if (lstat (name, &status) != 0 || S_ISREG (status.st_mode))
    return g_file_set_contents (name, bytes, (gssize) byte_count, error) ? CAT_OUTPUT_OK : CAT_OUTPUT_FAILED;
  result = cat_output_open (name, &fd);
  error_number = errno;
  if (result == CAT_OUTPUT_OK) {
    result = cat_output_write (fd, bytes, byte_count);
    error_number = errno;
    if (close (fd) != 0 && result == CAT_OUTPUT_OK) {
      result = CAT_OUTPUT_FAILED;
      error_number = errno;
    }
  }
  if (result == CAT_OUTPUT_FAILED)
    g_set_error (error, G_FILE_ERROR, (gint) g_file_error_from_errno (error_number), "%s: %s", name, g_strerror (error_number));
  return result;
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
      result = write_file (name, map.data, map.size, error);
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
  if (writer->options->source.format == CAT_FORMAT_RAW)
    return result;
  if (writer->written == 0) {
    header = cat_y4m_make_header (&writer->info);
    result = cat_output_write (STDOUT_FILENO, header, strlen (header));
    g_free (header);
  }
  return result == CAT_OUTPUT_OK ? cat_output_write (STDOUT_FILENO, CAT_Y4M_FRAME, strlen (CAT_Y4M_FRAME)) : result;
}

static CatOutputResult
write_bytes (Writer *writer, GstSample *sample)
{
  CatOutputResult result;
  GstMapInfo map;

  if (writer->options->verbose && writer->written == 0)
    fprintf (stderr, PROGRAM ": %s\n", gst_structure_get_name (gst_caps_get_structure (gst_sample_get_caps (sample), 0)));
  errno = ENOMEM;
  if (!gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ))
    return CAT_OUTPUT_FAILED;
  result = cat_output_write (STDOUT_FILENO, map.data, map.size);
  writer->written++;
  writer->byte_count += map.size;
  gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
  return result;
}

static CatOutputResult
write_frame (Writer *writer, GstSample *sample, GError **error)
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

static CatOutputResult
write_sample (Writer *writer, GstSample *sample, GError **error)
{
  if (writer->options->png != NULL)
    return write_png (writer->options->png, sample, error);
  if (gst_structure_has_name (gst_caps_get_structure (gst_sample_get_caps (sample), 0), "video/x-raw"))
    return write_frame (writer, sample, error);
  return write_bytes (writer, sample);
}

/* Packets end by themselves, since a container has an end of its own. */
static bool
is_enough (const Writer *writer)
{
  return writer->options->png != NULL || (writer->byte_count == 0 && writer->written == writer->options->source.count);
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
  result = write_sample (writer, sample, &error);
  if (result == CAT_OUTPUT_FAILED)
    status = complain (EXIT_CODE_FAILED, error != NULL ? error->message : "cannot write", error != NULL ? NULL : strerror (errno));
  else if (result == CAT_OUTPUT_STOPPED && options->png != NULL)
    status = complain (EXIT_CODE_FAILED, "stopped before the picture was written", NULL);
  else if (result == CAT_OUTPUT_OK && !is_enough (writer))
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
  if (options->verbose && writer.byte_count > 0)
    fprintf (stderr, PROGRAM ": %" G_GUINT64_FORMAT " bytes\n", writer.byte_count);
  else if (options->verbose && options->png == NULL)
    fprintf (stderr, PROGRAM ": %" G_GUINT64_FORMAT " frames\n", writer.written);
  return status;
}

int
main (int argc, char *argv[])
{
  Options options = {.source = {.timeout_ns = TIMEOUT_NS } };
  const bool has_output = standard_files_hold ();
  int status = take_options (&options, argc, argv);
  GError *error = NULL;

  if (status < 0 && !has_output && options.png == NULL)
    status = complain (EXIT_CODE_FAILED, "standard output is closed", NULL);
  if (status >= 0)
    return status;
  cat_output_catch_signals ();
  if (!gst_init_check (NULL, NULL, &error)) {
    complain (EXIT_CODE_FAILED, error != NULL ? error->message : "GStreamer cannot be started", NULL);
    g_clear_error (&error);
    return EXIT_CODE_FAILED;
  }
  if (options.png != NULL)
    options.source.format = CAT_FORMAT_PNG;
  return run (&options);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real streams: what encoders and muxers make crosses unchanged, and a decoder that comes late decodes its first picture without an error. */
#define _GNU_SOURCE
#include "element-fixture.h"

#include <stdio.h>
#include <string.h>

/* What came to a fakesink. */
typedef struct
{
  GChecksum *sum;
  guint count, corrupted;
  GMutex lock;
} Tally;

static void
tally_begin (Tally * tally)
{
  *tally = (Tally) {.sum = g_checksum_new (G_CHECKSUM_SHA256) };
  g_mutex_init (&tally->lock);
}

static void
tally_end (Tally * tally)
{
  g_checksum_free (tally->sum);
  g_mutex_clear (&tally->lock);
}

static void
on_handoff (GstElement * sink, GstBuffer * buffer, GstPad * pad, Tally * tally)
{
  const guint64 stamps[3] = { GST_BUFFER_PTS (buffer), GST_BUFFER_DTS (buffer), GST_BUFFER_DURATION (buffer) };
  GstMapInfo map;

  g_mutex_lock (&tally->lock);
  if (gst_buffer_map (buffer, &map, GST_MAP_READ)) {
    g_checksum_update (tally->sum, map.data, (gssize) map.size);
    gst_buffer_unmap (buffer, &map);
  }
  g_checksum_update (tally->sum, (const guchar *) stamps, sizeof stamps);
  tally->count++;
  tally->corrupted += !!GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_CORRUPTED);
  g_mutex_unlock (&tally->lock);
}

static void
watch (GstElement * pipeline, const char *name, Tally * tally)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), name);

  g_signal_connect (sink, "handoff", G_CALLBACK (on_handoff), tally);
  gst_object_unref (sink);
}

/* Nothing on the bus but what is usual: a decoder warns of what it cannot decode. */
static gboolean
is_quiet (GstElement * pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_WARNING | GST_MESSAGE_ERROR);

  gst_object_unref (bus);
  if (message == NULL)
    return TRUE;
  fprintf (stderr, "  %s: %s\n", GST_MESSAGE_TYPE_NAME (message), gst_structure_get_name (gst_message_get_structure (message)));
  gst_message_unref (message);
  return FALSE;
}

/* To the end of its stream; the channel stays. */
static GstElement *
publish (const char *stream, Tally * tally)
{
  GstElement *pipeline = pipeline_new ("%s ! tee name=t ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! "
      "fakesink name=direct sync=false signal-handoffs=true t. ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! "
      "cuframessink name=cuframes channel=test sync=false", stream);

  watch (pipeline, "direct", tally);
  if (!pipeline_play (pipeline) || !pipeline_reaches_eos (pipeline))
    fixture_fail (__FILE__, __LINE__, __func__, stream);
  return pipeline;
}

/* What comes out of a pipeline with a fakesink named "got". */
static void
subscribe (Tally * tally, const char *format, const char *rest)
{
  GstElement *pipeline = pipeline_new (format, rest);

  watch (pipeline, "got", tally);
  CHECK (pipeline_play (pipeline) && pipeline_reaches_eos (pipeline));
  CHECK (is_quiet (pipeline));
  pipeline_stop (pipeline);
}

static gboolean
have (const char *const *factories)
{
  for (; *factories != NULL; factories++)
    if (element_lacks (*factories))
      return FALSE;
  return TRUE;
}

#define PICTURES "videotestsrc num-buffers=%u ! video/x-raw,format=I420,width=160,height=128,framerate=30/1 ! "
#define SHORT "videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=160,height=128,framerate=30/1 ! "
#define BRIEF "audiotestsrc num-buffers=40 ! audio/x-raw,rate=48000,channels=2 ! audioconvert ! "
/* Without an end. */
#define SIGHT "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=128,framerate=60/1 ! "
#define SOUND "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2 ! audioconvert ! "

static const struct
{
  const char *name, *stream;
  const char *factories[4];
} streams[] = {
  {"H.264", SHORT "x264enc key-int-max=10 bframes=2", {"x264enc"}},
  {"H.265", SHORT "x265enc key-int-max=10 speed-preset=ultrafast", {"x265enc"}},
  {"VP8", SHORT "vp8enc deadline=1 keyframe-max-dist=10", {"vp8enc"}},
  {"VP9", SHORT "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=10", {"vp9enc"}},
  {"JPEG", SHORT "jpegenc", {"jpegenc"}},
  {"Opus", BRIEF "opusenc", {"opusenc"}},
  {"AAC", BRIEF "voaacenc", {"voaacenc"}},
  {"Vorbis", BRIEF "vorbisenc", {"vorbisenc"}},
  {"raw audio", "audiotestsrc num-buffers=40 ! audio/x-raw,format=S16LE,rate=48000,channels=2", {"audiotestsrc"}},
  {"raw audio, 8 channels planar", "audiotestsrc num-buffers=40 ! audio/x-raw,format=F32LE,layout=non-interleaved,rate=48000,channels=8,"
        "channel-mask=(bitmask)0xff", {"audiotestsrc"}},
  {"MPEG-TS", SHORT "x264enc key-int-max=10 ! mpegtsmux", {"x264enc", "mpegtsmux"}},
  {"FLV", SHORT "x264enc key-int-max=10 ! flvmux streamable=true", {"x264enc", "flvmux"}},
  {"RTP", SHORT "x264enc key-int-max=10 ! rtph264pay timestamp-offset=0 seqnum-offset=0 ssrc=1", {"x264enc", "rtph264pay"}},
};

static void
test_unchanged (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (streams); i++) {
    Tally sent, got;
    GstElement *publisher;
    if (!have (streams[i].factories))
      continue;
    tally_begin (&sent);
    tally_begin (&got);
    publisher = publish (streams[i].stream, &sent);
    subscribe (&got, "cuframessrc channel=test start=oldest timestamps=original ! fakesink name=%s sync=false signal-handoffs=true", "got");
    if (got.count != sent.count || strcmp (g_checksum_get_string (got.sum), g_checksum_get_string (sent.sum)) != 0) {
      gchar *text = g_strdup_printf ("%s: %u packets of %u came, or they differ", streams[i].name, got.count, sent.count);
      fixture_fail (__FILE__, __LINE__, __func__, text);
      g_free (text);
    }
    CHECK (sent.count > 0);
    pipeline_stop (publisher);
    tally_end (&sent);
    tally_end (&got);
  }
}

/* Of 40 pictures with a key picture every 15 the last 10 follow the last one. */
static const struct
{
  const char *name, *stream, *decoder;
  const char *factories[4];
} codings[] = {
  {"H.264 with parameter sets in the stream", "x264enc key-int-max=15 option-string=scenecut=0 tune=zerolatency ! video/x-h264,stream-format=byte-stream",
        "h264parse ! avdec_h264", {"x264enc", "h264parse", "avdec_h264"}},
  {"H.264 with parameter sets in the caps", "x264enc key-int-max=15 option-string=scenecut=0 tune=zerolatency ! video/x-h264,stream-format=avc",
        "avdec_h264", {"x264enc", "avdec_h264"}},
  {"H.264 in NAL units, two slices a picture", "x264enc key-int-max=15 option-string=scenecut=0:slices=2 tune=zerolatency sliced-threads=false aud=true ! "
        "video/x-h264,stream-format=byte-stream ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=nal", "h264parse ! avdec_h264", {"x264enc", "h264parse", "avdec_h264"}},
  {"H.265 with parameter sets in the stream", "x265enc key-int-max=15 option-string=scenecut=0:open-gop=0 tune=zerolatency speed-preset=ultrafast ! "
        "h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream", "h265parse ! avdec_h265", {"x265enc", "h265parse", "avdec_h265"}},
  {"H.265 with parameter sets in the caps", "x265enc key-int-max=15 option-string=scenecut=0:open-gop=0 tune=zerolatency speed-preset=ultrafast ! "
        "h265parse ! video/x-h265,stream-format=hvc1", "avdec_h265", {"x265enc", "h265parse", "avdec_h265"}},
};

static void
test_late_decoder (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (codings); i++) {
    gchar *stream, *rest;
    GstElement *publisher;
    Tally sent, got;
    if (!have (codings[i].factories))
      continue;
    stream = g_strdup_printf (PICTURES "%s", 40, codings[i].stream);
    rest = g_strdup_printf ("%s ! fakesink name=got sync=false signal-handoffs=true", codings[i].decoder);
    tally_begin (&sent);
    tally_begin (&got);
    publisher = publish (stream, &sent);
    subscribe (&got, "cuframessrc channel=test ! %s", rest);
    if (got.count != 10 || got.corrupted > 0) {
      gchar *text = g_strdup_printf ("%s: %u pictures came, %u of them broken", codings[i].name, got.count, got.corrupted);
      fixture_fail (__FILE__, __LINE__, __func__, text);
      g_free (text);
    }
    pipeline_stop (publisher);
    tally_end (&sent);
    tally_end (&got);
    g_free (stream);
    g_free (rest);
  }
}

static const struct
{
  const char *name, *stream, *decoder;
  const char *factories[5];
} decoders[] = {
  {"Opus", SOUND "opusenc", "opusdec", {"opusenc", "opusdec"}},
  {"Vorbis", SOUND "vorbisenc", "vorbisdec", {"vorbisenc", "vorbisdec"}},
  {"AAC", SOUND "voaacenc", "avdec_aac", {"voaacenc", "avdec_aac"}},
  {"JPEG", SIGHT "jpegenc", "jpegdec", {"jpegenc", "jpegdec"}},
  {"VP8", SIGHT "vp8enc deadline=1 keyframe-max-dist=10", "vp8dec", {"vp8enc", "vp8dec"}},
  {"MPEG-TS", SIGHT "x264enc key-int-max=10 tune=zerolatency ! mpegtsmux", "tsdemux ! h264parse ! avdec_h264", {"x264enc", "mpegtsmux", "tsdemux", "avdec_h264"}},
  {"Matroska", SIGHT "x264enc key-int-max=10 tune=zerolatency ! matroskamux streamable=true", "matroskademux ! h264parse ! avdec_h264",
        {"x264enc", "matroskamux", "matroskademux", "avdec_h264"}},
};

/* They join a stream that has begun long ago: in a ring of 16 packets its beginning is gone. */
static void
test_other_decoders (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (decoders); i++) {
    GstElement *publisher, *subscriber;
    Tally got;
    if (!have (decoders[i].factories))
      continue;
    tally_begin (&got);
    publisher = pipeline_new ("%s ! cuframessink name=cuframes channel=test packet-ring-packets=16", decoders[i].stream);
    CHECK (pipeline_play (publisher));
    CHECK (WAIT_UNTIL (pipeline_stat (publisher, "frames") > 40));
    subscriber = pipeline_new ("cuframessrc channel=test ! %s ! fakesink name=got sync=false signal-handoffs=true", decoders[i].decoder);
    watch (subscriber, "got", &got);
    CHECK (pipeline_play (subscriber));
    if (!WAIT_UNTIL (got.count > 5) || got.corrupted > 0 || !is_quiet (subscriber))
      fixture_fail (__FILE__, __LINE__, __func__, decoders[i].name);
    pipeline_stop (subscriber);
    pipeline_stop (publisher);
    tally_end (&got);
  }
}

/* Samples that lie plane by plane are found by their meta. */
static void
test_planar_audio (void)
{
  GstElement *publisher;
  Tally sent, got;

  tally_begin (&sent);
  tally_begin (&got);
  publisher = publish ("audiotestsrc num-buffers=20 ! audio/x-raw,format=F32LE,layout=non-interleaved,rate=48000,channels=6,channel-mask=(bitmask)0x3f", &sent);
  subscribe (&got, "cuframessrc channel=test start=oldest ! audioconvert ! audio/x-raw,format=S16LE,layout=interleaved ! %s",
      "fakesink name=got sync=false signal-handoffs=true");
  CHECK_EQUAL (got.count, 20);
  pipeline_stop (publisher);
  tally_end (&sent);
  tally_end (&got);
}

/* Both ways of keeping time make a file that has every picture, from a recorder that comes when all is over. */
static void
test_recordings (void)
{
  static const char *const properties[] = { "start=oldest", "start=oldest timestamps=original" };
  static const char *const muxers[] = { "mp4mux", "matroskamux", "mpegtsmux" };
  static const char *const demuxers[] = { "qtdemux", "matroskademux", "tsdemux" };

  for (guint i = 0; i < G_N_ELEMENTS (properties) * G_N_ELEMENTS (muxers); i++) {
    const char *const needed[] = { "x264enc", "h264parse", muxers[i / 2], demuxers[i / 2], "avdec_h264", NULL };
    GstElement *publisher, *recorder, *player;
    Tally sent, got;
    if (!have (needed))
      continue;
    tally_begin (&sent);
    tally_begin (&got);
    publisher = publish (SHORT "x264enc key-int-max=10 bframes=2 ! video/x-h264,stream-format=avc", &sent);
    recorder = pipeline_new ("cuframessrc channel=test %s ! h264parse ! %s ! filesink location=%s", properties[i % 2], muxers[i / 2], fixture_path ("file"));
    CHECK (pipeline_play (recorder) && pipeline_reaches_eos (recorder) && is_quiet (recorder));
    pipeline_stop (recorder);
    player = pipeline_new ("filesrc location=%s ! %s ! h264parse ! avdec_h264 ! fakesink name=got sync=false signal-handoffs=true", fixture_path ("file"),
        demuxers[i / 2]);
    watch (player, "got", &got);
    CHECK (pipeline_play (player) && pipeline_reaches_eos (player) && is_quiet (player));
    CHECK_EQUAL (got.count, 20);
    pipeline_stop (player);
    pipeline_stop (publisher);
    tally_end (&sent);
    tally_end (&got);
  }
}

/* The encoder upstream of the publisher makes the key picture that a reader without one asks for. */
static void
test_key_picture_on_demand (void)
{
  static const char *const needed[] = { "x264enc", "avdec_h264", NULL };
  GstElement *publisher, *subscriber;
  Tally got;

  if (!have (needed))
    return;
  tally_begin (&got);
  publisher = pipeline_new ("videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=128,framerate=30/1 ! "
      "x264enc key-int-max=100000 tune=zerolatency option-string=scenecut=0 ! video/x-h264,stream-format=avc ! cuframessink name=cuframes channel=test");
  REQUIRE (pipeline_play (publisher));
  CHECK (WAIT_UNTIL (pipeline_stat (publisher, "frames") > 3));
  subscriber = pipeline_new ("cuframessrc channel=test start=next ! avdec_h264 ! fakesink name=got sync=false signal-handoffs=true");
  watch (subscriber, "got", &got);
  REQUIRE (pipeline_play (subscriber));
  CHECK (WAIT_UNTIL (got.count > 3));
  CHECK (is_quiet (subscriber));
  CHECK_EQUAL (got.corrupted, 0);
  pipeline_stop (subscriber);
  pipeline_stop (publisher);
  tally_end (&got);
}

static const FixtureTest tests[] = {
  {"what encoders and muxers make crosses unchanged", test_unchanged},
  {"a decoder that comes late decodes from its first picture on", test_late_decoder},
  {"a decoder that joins a stream without its beginning finds what it needs", test_other_decoders},
  {"planar audio can be read", test_planar_audio},
  {"a recording has every picture", test_recordings},
  {"the encoder makes the key picture that a reader asks for", test_key_picture_on_demand},
};

ELEMENT_MAIN (tests, NULL, 0)

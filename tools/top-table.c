/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <time.h>

#include "text.h"
#include "top-show.h"

#define NAME_COLUMNS_MIN 7
#define NAME_COLUMNS_MAX 32
#define FORMAT_COLUMNS 23

static unsigned
choose_name_columns (const TopChannels *channels)
{
  size_t columns = NAME_COLUMNS_MIN;

  for (uint32_t i = 0; i < channels->count; i++)
    if (strlen (channels->channels[i]->name) > columns)
      columns = strlen (channels->channels[i]->name);
  return columns > NAME_COLUMNS_MAX ? NAME_COLUMNS_MAX : (unsigned) columns;
}

/* In the largest unit that leaves two digits or more. */
static void
put_age (FILE *out, uint64_t then_ns)
{
  const uint64_t now = top_now_ns (), ms = now > then_ns ? (now - then_ns) / 1000000u : 0;
  char text[32];

  if (then_ns == 0)
    snprintf (text, sizeof text, "-");
  else if (ms < 1000)
    snprintf (text, sizeof text, "%u ms", (unsigned) ms);
  else if (ms < 100000)
    snprintf (text, sizeof text, "%.1f s", (double) ms / 1000);
  else if (ms < 100 * 60000)
    snprintf (text, sizeof text, "%u min", (unsigned) (ms / 60000));
  else
    snprintf (text, sizeof text, "%u h", (unsigned) (ms / 3600000));
  fprintf (out, " %7s", text);
}

/* In Mbit/s, with as many digits as fit. */
static void
put_rate (FILE *out, const TopChannel *channel)
{
  const double rate = channel->bits_per_second / 1e6;

  if (channel->stats.generation == 0)
    fprintf (out, " %7s", "-");
  else
    fprintf (out, " %7.*f", rate < 100 ? 2 : rate < 10000 ? 1 : 0, rate);
}

static void
put_channel (FILE *out, const TopChannel *channel, unsigned name_columns)
{
  const CuframesPublisherStats *stats = &channel->stats;
  char leases[32];

  text_put_field (out, channel->name, name_columns);
  fputc (' ', out);
  if (channel->state != TOP_CHANNEL_LIVE) {
    fprintf (out, "%s: ", top_name_state (channel->state));
    text_put (out, channel->reason);
    fputc ('\n', out);
    return;
  }
  text_put_field (out, channel->brief != NULL ? channel->brief : channel->format_bytes > 0 ? "?" : "-", FORMAT_COLUMNS);
  if (top_carries_packets (channel))
    snprintf (leases, sizeof leases, "-");
  else
    snprintf (leases, sizeof leases, "%u/%u", stats->slots_leased, stats->slots);
  fprintf (out, " %4s %6.1f", stats->generation > 0 ? top_name_memory (stats->memory_kind) : "-", channel->fps);
  put_rate (out, channel);
  fprintf (out, " %4u %6s %8llu %8llu", stats->subscribers, leases, (unsigned long long) stats->dropped, (unsigned long long) channel->missed);
  put_age (out, stats->last_publish_ns);
  fprintf (out, " %7u\n", channel->pid);
}

static void
put_subscriber (FILE *out, const CuframesSubscriberStats *subscriber)
{
  fprintf (out, "  %7u ", subscriber->pid);
  text_put_field (out, subscriber->name[0] != 0 ? subscriber->name : "?", 20);
  if (subscriber->observer)
    fputs (" looks on", out);
  else
    fprintf (out, " leases %u  delivered %llu  missed %llu  copied %llu  lag %llu%s", subscriber->leases_held,
        (unsigned long long) subscriber->delivered, (unsigned long long) subscriber->missed, (unsigned long long) subscriber->copied,
        (unsigned long long) subscriber->lag_frames, subscriber->lingering ? "  has left, holds on" : "");
  fputc ('\n', out);
}

static void
put_title (FILE *out, const TopChannels *channels, TopOrder order)
{
  const time_t now = time (NULL);
  uint32_t live = 0;
  struct tm local;
  char clock[16];

  for (uint32_t i = 0; i < channels->count; i++)
    live += channels->channels[i]->state == TOP_CHANNEL_LIVE;
  localtime_r (&now, &local);
  strftime (clock, sizeof clock, "%H:%M:%S", &local);
  fprintf (out, "%s  ", clock);
  text_put (out, channels->only_named ? "named channels" : channels->directory);
  fprintf (out, "  %u live", live);
  if (live < channels->count)
    fprintf (out, ", %u not", channels->count - live);
  fprintf (out, "  by %s\n", top_order_names[order]);
}

void
top_show_table (FILE *out, const TopChannels *channels, TopOrder order, bool with_subscribers)
{
  const unsigned name_columns = choose_name_columns (channels);

  put_title (out, channels, order);
  text_put_field (out, "CHANNEL", name_columns);
  fputc (' ', out);
  text_put_field (out, "FORMAT", FORMAT_COLUMNS);
  fprintf (out, " %4s %6s %7s %4s %6s %8s %8s %7s %7s\n", "MEM", "FPS", "MBIT/S", "SUBS", "LEASES", "DROPS", "MISSED", "AGE", "PID");
  for (uint32_t i = 0; i < channels->count; i++) {
    const TopChannel *channel = channels->channels[i];
    put_channel (out, channel, name_columns);
    for (uint32_t j = 0; with_subscribers && channel->state == TOP_CHANNEL_LIVE && j < channel->subscriber_count; j++)
      put_subscriber (out, &channel->subscribers[j]);
  }
}

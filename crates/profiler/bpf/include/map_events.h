/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "map_counters.h"
#include "types.h"

/* Requests to user space, which is woken by them: the sooner it answers, the fewer stacks are cut short. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 17);
} events SEC(".maps");

static __always_inline bool send_with(struct event *event, u64 flags)
{
	if (bpf_ringbuf_output(&events, event, sizeof(*event), flags) == 0)
		return true;
	count(COUNTER_events_lost);
	return false;
}

static __always_inline bool send(struct event *event)
{
	return send_with(event, BPF_RB_FORCE_WAKEUP);
}

/* For what can wait until user space looks the next time. */
static __always_inline bool send_quietly(struct event *event)
{
	return send_with(event, BPF_RB_NO_WAKEUP);
}

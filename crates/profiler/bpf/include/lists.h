/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Names that C and Rust share. build.rs reads these lines: NAME(identifier, "help"), one a line. */

/* What happens to samples, each counted per CPU. */
#define COUNTERS(COUNTER)                                                                                              \
	COUNTER(samples, "samples handed to user space")                                                               \
	COUNTER(idle, "ticks on an idle CPU")                                                                          \
	COUNTER(kernel_threads, "samples of kernel threads, which have no user stack")                                 \
	COUNTER(lost_ring_full, "samples lost because the ring was full")                                              \
	COUNTER(lost_nested, "samples lost because one was being taken on the same CPU")                               \
	COUNTER(over_quota, "samples of processes over their quota; their weight goes to the next one")                \
	COUNTER(events_lost, "requests to user space lost because the ring was full")                                  \
	COUNTER(processes_full, "processes not tracked because the table was full")                                    \
	COUNTER(pages_full, "unwind pages not asked for because the table was full")                                   \
	COUNTER(kernel_stack_failed, "kernel stacks that the kernel could not give")                                   \
	COUNTER(native_frames, "native frames unwound")                                                                \
	COUNTER(compat, "samples of 32-bit processes, which are not unwound")

/* Why a user stack ends. */
#define ENDS(END)                                                                                                      \
	END(root, "reached the outermost frame")                                                                       \
	END(no_user, "there is no user stack")                                                                         \
	END(new_process, "process not known yet")                                                                      \
	END(no_mapping, "address in no known executable mapping")                                                      \
	END(no_table, "unwind table not loaded yet")                                                                   \
	END(no_rule, "no unwind information for the address")                                                          \
	END(unsupported_rule, "unwind rule of an unsupported kind")                                                    \
	END(unreadable, "stack memory not readable")                                                                   \
	END(corrupt, "stack pointer does not grow")                                                                    \
	END(zero_frame_pointer, "reached the outermost frame: the frame pointer is zero")                                                            \
	END(depth, "deeper than a record holds")                                                                       \
	END(compat, "32-bit process")

/* Kinds of frames in a record. */
#define FRAMES(FRAME)                                                                                                  \
	FRAME(none, "unused")                                                                                          \
	FRAME(native, "data: file id, payload: svma")                                                                  \
	FRAME(address, "payload: avma in no known mapping")

/* Who unwinds code of a mapping. */
#define UNWINDERS(UNWINDER)                                                                                            \
	UNWINDER(table, "by the rows of its file")                                                                     \
	UNWINDER(frame_pointer, "by frame pointers: code without a table that keeps them")

/* What the kernel side asks of user space. */
#define EVENTS(EVENT_KIND)                                                                                                  \
	EVENT_KIND(process_wanted, "a process was sampled that has no mappings here")                                       \
	EVENT_KIND(mapping_wanted, "a process ran at an address that no mapping here covers")                               \
	EVENT_KIND(page_wanted, "a page of unwind rows is missing")                                                         \
	EVENT_KIND(process_exit, "a process that user space knows has ended")

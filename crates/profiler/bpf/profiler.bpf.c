// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The kernel side of the profiler. One object, so that all programs share maps and the unwinder. */

#include "include/kernel.h"
#include "processes.h"
#include "unwind.h"
#include "sampler.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: MIT
 *
 * What lies between these two calls is counted by valgrind's tool callgrind, and written down under a name.
 */
#include <valgrind/callgrind.h>

void counted_begin(void)
{
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void counted_end(const char *name)
{
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
}

/* Clients of redis that send one ECHO after another: what is asked and what must be answered is known for every byte.
 */
#ifndef MOONRING_TESTS_ECHO_H
#define MOONRING_TESTS_ECHO_H

#include "tests/support/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct echo {
    struct peer peer; /* sent and received count the bytes of whole commands and replies; fd -1: the connection ended */
    uint64_t ahead_max; /* bytes that it asks before they are answered */
};

void echo_open(struct echo *echo, const char *address, uint64_t stream, uint64_t ahead_max);
bool echo_has_ended(const struct echo *echo);
/* All that was asked was answered. */
bool echo_is_answered(const struct echo *echo);
/* The commands that were answered. */
uint64_t echo_answers(const struct echo *echo);
/* They ask and hear for so long. A wrong byte fails the test; the end of a connection does not. */
void echoes_run(struct echo *echoes, size_t count, int milliseconds);
/* They finish the command they are at, and all that are still there are answered. */
void echoes_settle(struct echo *echoes, size_t count);

#endif

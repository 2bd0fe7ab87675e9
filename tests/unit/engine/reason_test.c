#include "engine/reason.h"

#include <criterion/criterion.h>
#include <string.h>

Test(reason, every_one_has_a_name_in_small_letters, .timeout = 10) {
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        const char *name = close_reason_name((enum close_reason)reason);
        cr_assert_str_neq(name, "unknown", "reason %d", reason);
        cr_assert_gt(strlen(name), 0);
        cr_assert_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name), "%s", name);
    }
}

Test(reason, no_two_have_the_same_name, .timeout = 10) {
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        for (int other = 0; other < reason; other++) {
            cr_assert_str_neq(close_reason_name((enum close_reason)reason),
                              close_reason_name((enum close_reason)other));
        }
    }
}

Test(reason, every_one_has_the_party_that_ended_the_session, .timeout = 10) {
    const char *const ended_by[CLOSE_REASONS] = {
        [CLOSE_CLIENT_FIN] = "client",   [CLOSE_SERVER_FIN] = "server", [CLOSE_CLIENT_RESET] = "client",
        [CLOSE_SERVER_RESET] = "server", [CLOSE_REJECTED] = "filter",
    };
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        const char *wanted = ended_by[reason] == NULL ? "moonring" : ended_by[reason];
        cr_assert_str_eq(close_reason_ended_by((enum close_reason)reason), wanted, "%s",
                         close_reason_name((enum close_reason)reason));
    }
}

Test(reason, of_a_timeout_says_so_in_its_name, .timeout = 10) {
    cr_assert_str_eq(close_reason_name(CLOSE_TIMEOUT_CONNECT), "timeout_connect");
    cr_assert_str_eq(close_reason_name(CLOSE_TIMEOUT_IDLE), "timeout_idle");
    cr_assert_str_eq(close_reason_name(CLOSE_TIMEOUT_HALF_CLOSE), "timeout_half_close");
    cr_assert_str_eq(close_reason_name(CLOSE_TIMEOUT_SEND_STALL), "timeout_send_stall");
    cr_assert_str_eq(close_reason_name(CLOSE_TIMEOUT_LIFETIME), "timeout_lifetime");
}

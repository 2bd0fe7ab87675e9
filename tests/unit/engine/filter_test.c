#include "engine/filter.h"

#include <criterion/criterion.h>

Test(filter, names_its_hooks_as_scripts_do, .timeout = 10) {
    cr_assert_str_eq(hook_name(HOOK_ROUTE), "route");
    cr_assert_str_eq(hook_name(HOOK_CONNECT_FAILED), "connect_failed");
    cr_assert_str_eq(hook_name(HOOK_CONNECTED), "connected");
    cr_assert_str_eq(hook_name(HOOK_FROM_CLIENT), "from_client");
    cr_assert_str_eq(hook_name(HOOK_FROM_SERVER), "from_server");
    cr_assert_str_eq(hook_name(HOOK_CLIENT_EOF), "client_eof");
    cr_assert_str_eq(hook_name(HOOK_SERVER_EOF), "server_eof");
    cr_assert_str_eq(hook_name(HOOK_SERVE), "serve");
    cr_assert_str_eq(hook_name(HOOK_CLOSED), "closed");
}

Test(filter, has_the_hooks_of_its_bits, .timeout = 10) {
    const struct filter filter = {.hooks = 1u << HOOK_ROUTE | 1u << HOOK_CLOSED};
    cr_assert(filter_has(&filter, HOOK_ROUTE));
    cr_assert(filter_has(&filter, HOOK_CLOSED));
    cr_assert(!filter_has(&filter, HOOK_SERVE));
}

Test(filter, hooks_of_directions_are_named_after_who_sends, .timeout = 10) {
    cr_assert_eq(direction_hook(FROM_CLIENT), HOOK_FROM_CLIENT);
    cr_assert_eq(direction_hook(FROM_SERVER), HOOK_FROM_SERVER);
    cr_assert_eq(direction_opposite(FROM_CLIENT), FROM_SERVER);
    cr_assert_eq(direction_opposite(FROM_SERVER), FROM_CLIENT);
}

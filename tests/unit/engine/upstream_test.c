#include "engine/upstream.h"

#include <criterion/criterion.h>
#include <string.h>

/* An upstream of two servers, with texts of its own that a test may overwrite. */
struct fixture {
    char upstream_name[16];
    char first_name[16];
    char second_name[16];
    struct address addresses[2];
    struct config_server servers[2];
    struct config_upstream config;
    struct upstream_member members[2];
};

static void address_read(struct address *address, const char *text) {
    struct error error = {.text = ""};
    cr_assert(address_parse(address, text, false, &error), "%s", error.text);
}

static void fixture_init(struct fixture *fixture) {
    *fixture = (struct fixture){
        .upstream_name = "web",
        .first_name = "one",
        .second_name = "two",
        .servers = {{.weight = 5, .connections_max = 100}, {.weight = 1, .backup = true}},
        .config = {.balance = BALANCE_LEAST_CONN, .retry_attempts = 3, .retry_backoff_ms = 250, .connect_ms = 1500},
    };
    address_read(&fixture->addresses[0], "10.0.0.1:80");
    address_read(&fixture->addresses[1], "unix:/run/two.sock");
    fixture->config.name = fixture->upstream_name;
    fixture->members[0] = (struct upstream_member){
        .name = fixture->first_name, .address = &fixture->addresses[0], .config = &fixture->servers[0]};
    fixture->members[1] = (struct upstream_member){
        .name = fixture->second_name, .address = &fixture->addresses[1], .config = &fixture->servers[1]};
}

Test(upstream, has_what_the_configuration_says, .timeout = 10) {
    struct fixture fixture;
    struct upstream upstream;
    fixture_init(&fixture);
    cr_assert(upstream_init(&upstream, &fixture.config, fixture.members, 2, NULL));
    cr_assert_str_eq(upstream.name, "web");
    cr_assert_eq(upstream.servers_count, 2);
    cr_assert_eq(upstream.balance, BALANCE_LEAST_CONN);
    cr_assert_eq(upstream.retry_attempts, 3);
    cr_assert_eq(upstream.retry_backoff_ms, 250);
    cr_assert_eq(upstream.connect_ms, 1500);
    upstream_finish(&upstream);
}

Test(upstream, its_servers_have_what_the_configuration_says, .timeout = 10) {
    struct fixture fixture;
    struct upstream upstream;
    fixture_init(&fixture);
    cr_assert(upstream_init(&upstream, &fixture.config, fixture.members, 2, NULL));
    const struct server *first = &upstream.servers[0];
    cr_assert_str_eq(first->name, "one");
    cr_assert_str_eq(first->address_text, "10.0.0.1:80");
    cr_assert(address_equal(&first->address, &fixture.addresses[0]));
    cr_assert_eq(first->weight, 5);
    cr_assert_eq(first->connections_max, 100);
    cr_assert_not(first->backup);
    const struct server *second = &upstream.servers[1];
    cr_assert_str_eq(second->name, "two");
    cr_assert_str_eq(second->address_text, "unix:/run/two.sock");
    cr_assert_eq(second->weight, 1);
    cr_assert_eq(second->connections_max, 0);
    cr_assert(second->backup);
    upstream_finish(&upstream);
}

Test(upstream, its_servers_begin_with_nobody_connected, .timeout = 10) {
    struct fixture fixture;
    struct upstream upstream;
    fixture_init(&fixture);
    cr_assert(upstream_init(&upstream, &fixture.config, fixture.members, 2, NULL));
    for (size_t index = 0; index < upstream.servers_count; index++) {
        cr_assert_eq(atomic_load(&upstream.servers[index].state->active), 0);
        cr_assert_eq(atomic_load(&upstream.servers[index].state->connected_total), 0);
        cr_assert_eq(atomic_load(&upstream.servers[index].state->failed_total), 0);
    }
    upstream_finish(&upstream);
}

Test(upstream, keeps_copies_of_what_it_was_made_from, .timeout = 10) {
    struct fixture fixture;
    struct upstream upstream;
    fixture_init(&fixture);
    cr_assert(upstream_init(&upstream, &fixture.config, fixture.members, 2, NULL));
    memset(&fixture, 'x', sizeof(fixture));
    cr_assert_str_eq(upstream.name, "web");
    cr_assert_str_eq(upstream.servers[0].name, "one");
    cr_assert_str_eq(upstream.servers[0].address_text, "10.0.0.1:80");
    cr_assert_eq(address_port(&upstream.servers[0].address), 80);
    cr_assert_eq(upstream.servers[0].weight, 5);
    upstream_finish(&upstream);
}

Test(upstream, a_host_with_several_addresses_becomes_several_servers, .timeout = 10) {
    struct fixture fixture;
    struct upstream upstream;
    fixture_init(&fixture);
    fixture.members[1].name = fixture.first_name;
    fixture.members[1].config = &fixture.servers[0];
    cr_assert(upstream_init(&upstream, &fixture.config, fixture.members, 2, NULL));
    cr_assert_str_eq(upstream.servers[0].name, "one");
    cr_assert_str_eq(upstream.servers[1].name, "one");
    cr_assert_str_eq(upstream.servers[1].address_text, "unix:/run/two.sock");
    cr_assert_eq(upstream.servers[1].weight, 5);
    upstream_finish(&upstream);
}

Test(upstream, connect_timeout_that_is_not_set_stays_so, .timeout = 10) {
    struct fixture fixture;
    struct upstream upstream;
    fixture_init(&fixture);
    fixture.config.connect_ms = UINT64_MAX;
    cr_assert(upstream_init(&upstream, &fixture.config, fixture.members, 2, NULL));
    cr_assert_eq(upstream.connect_ms, UINT64_MAX);
    upstream_finish(&upstream);
}

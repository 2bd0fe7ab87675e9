#include "program/standing_orders.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* An upstream with a server "a", whose host name has two addresses, and a server "b". */
struct fixture {
    struct standing_orders orders;
    char texts[8][24];
    struct server servers[3];
    struct upstream upstream;
    uint64_t generation;
};

enum { A1, A2, B };

static void fixture_init(struct fixture *fixture) {
    *fixture = (struct fixture){
        .texts = {"web", "a/10.0.0.1:80", "10.0.0.1:80", "a/10.0.0.2:80", "10.0.0.2:80", "b", "10.0.0.1:80"},
        .generation = 1};
    standing_orders_init(&fixture->orders);
    fixture->upstream = (struct upstream){.name = fixture->texts[0], .servers = fixture->servers, .servers_count = 3};
    for (size_t index = 0; index < 3; index++) {
        fixture->servers[index] =
            (struct server){.name = fixture->texts[1 + 2 * index], .address_text = fixture->texts[2 + 2 * index]};
    }
}

static struct standing_place place(struct fixture *fixture, size_t server, bool is_one) {
    return (struct standing_place){.upstream = &fixture->upstream,
                                   .server = &fixture->servers[server],
                                   .generation = fixture->generation,
                                   .is_one = is_one};
}

static bool note_out(struct fixture *fixture, size_t server, bool is_one, uint32_t value) {
    const struct standing_place whose = place(fixture, server, is_one);
    return standing_orders_note(&fixture->orders, &whose, STANDING_OUT, value);
}

static bool note_weight(struct fixture *fixture, size_t server, bool is_one, uint32_t value) {
    const struct standing_place whose = place(fixture, server, is_one);
    return standing_orders_note(&fixture->orders, &whose, STANDING_WEIGHT, value);
}

static uint32_t wanted(struct fixture *fixture, size_t server, enum standing_kind kind) {
    const struct standing_place whose = place(fixture, server, false);
    const struct standing_order *order = standing_orders_find(&fixture->orders, &whose);
    return order == NULL ? 0 : order->wanted[kind];
}

static void expect_out(struct fixture *fixture, uint32_t a1, uint32_t a2, uint32_t b) {
    cr_expect_eq(wanted(fixture, A1, STANDING_OUT), a1);
    cr_expect_eq(wanted(fixture, A2, STANDING_OUT), a2);
    cr_expect_eq(wanted(fixture, B, STANDING_OUT), b);
}

Test(standing_orders, of_a_name_hold_for_all_its_addresses, .timeout = 10) {
    struct fixture fixture;
    fixture_init(&fixture);
    cr_assert(note_out(&fixture, A1, false, HEALTH_DRAINED));
    expect_out(&fixture, HEALTH_DRAINED, HEALTH_DRAINED, 0);
    cr_assert(note_weight(&fixture, A2, false, 7));
    cr_expect_eq(wanted(&fixture, A1, STANDING_WEIGHT), 7);
    cr_expect_eq(fixture.orders.count, 1);
    cr_assert(note_out(&fixture, A2, false, 0));
    cr_assert(note_weight(&fixture, A1, false, 0));
    cr_expect_eq(fixture.orders.count, 0);
    standing_orders_finish(&fixture.orders);
}

Test(standing_orders, of_one_address_are_exceptions, .timeout = 10) {
    struct fixture fixture;
    fixture_init(&fixture);
    cr_assert(note_out(&fixture, B, false, HEALTH_DISABLED));
    cr_assert(note_out(&fixture, A1, false, HEALTH_DRAINED));
    cr_assert(note_weight(&fixture, A1, false, 3));
    cr_assert(note_out(&fixture, A2, true, 0));
    expect_out(&fixture, HEALTH_DRAINED, 0, HEALTH_DISABLED);
    cr_expect_eq(wanted(&fixture, A2, STANDING_WEIGHT), 3);
    cr_assert(note_out(&fixture, A1, false, HEALTH_DRAINED)); /* of all: the exception is over */
    expect_out(&fixture, HEALTH_DRAINED, HEALTH_DRAINED, HEALTH_DISABLED);
    cr_expect_eq(fixture.orders.count, 2);
    cr_assert(note_out(&fixture, A1, false, 0));
    cr_assert(note_weight(&fixture, A1, false, 0));
    cr_assert(note_out(&fixture, A1, true, HEALTH_DRAINED));
    expect_out(&fixture, HEALTH_DRAINED, 0, HEALTH_DISABLED);
    cr_assert(note_out(&fixture, A1, true, 0));
    cr_assert(note_out(&fixture, B, true, 0));
    expect_out(&fixture, 0, 0, 0);
    standing_orders_finish(&fixture.orders);
}

Test(standing_orders, of_who_is_absent_can_be_forgotten, .timeout = 10) {
    struct fixture fixture;
    fixture_init(&fixture);
    cr_assert(note_out(&fixture, A1, false, HEALTH_DRAINED));
    cr_assert(note_out(&fixture, A2, true, HEALTH_DISABLED));
    cr_expect_not(standing_orders_forget(&fixture.orders, "web/a", STANDING_OUT, fixture.generation), "it is there");
    uint64_t next = fixture.generation + 1;
    cr_expect_not(standing_orders_forget(&fixture.orders, "web/a", STANDING_WEIGHT, next), "no weight was wanted");
    cr_expect_not(standing_orders_forget(&fixture.orders, "web/a/", STANDING_OUT, next));
    cr_expect_not(standing_orders_forget(&fixture.orders, "we", STANDING_OUT, next));
    cr_expect(standing_orders_forget(&fixture.orders, "web/a/10.0.0.2:80", STANDING_OUT, next));
    cr_expect(standing_orders_forget(&fixture.orders, "web/a", STANDING_OUT, next));
    expect_out(&fixture, 0, 0, 0);
    cr_expect_eq(fixture.orders.count, 0);
    standing_orders_finish(&fixture.orders);
}

Test(standing_orders, are_bounded_and_can_be_taken_back_when_there_is_no_room, .timeout = 30) {
    struct fixture fixture;
    fixture_init(&fixture);
    char *name = fixture.texts[5];
    for (int index = 0; index < STANDING_ORDERS_MAX; index++) {
        snprintf(name, sizeof(fixture.texts[5]), "server-%d", index);
        cr_assert(note_out(&fixture, B, false, HEALTH_DRAINED));
    }
    cr_expect_not(note_out(&fixture, A1, false, HEALTH_DRAINED));
    expect_out(&fixture, 0, 0, HEALTH_DRAINED);
    cr_expect(note_out(&fixture, A1, false, 0), "nothing is wanted of it, which takes no room");
    cr_expect(note_out(&fixture, B, false, 0));
    cr_expect(note_out(&fixture, A1, false, HEALTH_DRAINED));
    expect_out(&fixture, HEALTH_DRAINED, HEALTH_DRAINED, 0);
    standing_orders_finish(&fixture.orders);
}

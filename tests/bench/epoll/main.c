/* epoll-relay LISTEN SERVER [SPIN]: relays IPv4 connections until a signal ends it. SPIN is a duration such as `20us`.
 */
#include "base/address.h"
#include "base/units.h"
#include "tests/bench/epoll/relay.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static bool parse_address(const char *text, struct sockaddr_in *result, struct error *error) {
    struct address address;
    if (!address_parse(&address, text, false, error)) {
        return error_prefix(error, "%s: ", text);
    }
    if (address_family(&address) != AF_INET) {
        return error_set(error, "%s: only IPv4 addresses are relayed", text);
    }
    *result = address.v4;
    return true;
}

static bool parse_spin(const char *text, uint64_t *spin_ns, struct error *error) {
    uint64_t spin_us = 0;
    if (!units_parse_duration(text, &spin_us, error)) {
        return error_prefix(error, "%s: ", text);
    }
    *spin_ns = spin_us * 1000;
    return true;
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argument_count, char **arguments) {
    struct relay_settings settings = {0};
    struct error error = {"usage: epoll-relay LISTEN SERVER [SPIN]"};
    signal(SIGPIPE, SIG_IGN); /* splice() has no flag against it */
    raise_descriptor_limit();
    if (argument_count >= 3 && argument_count <= 4 && parse_address(arguments[1], &settings.listen, &error) &&
        parse_address(arguments[2], &settings.server, &error) &&
        (argument_count == 3 || parse_spin(arguments[3], &settings.spin_ns, &error))) {
        relay_run(&settings, &error);
    }
    fprintf(stderr, "epoll-relay: %s\n", error.text);
    return EXIT_FAILURE;
}

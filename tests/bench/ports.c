#include "tests/bench/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_PORT = 10000, LAST_PORT = 65535, ROOM_NEEDED = 2000 };

/* The larger room below or above the clients' range; when the range leaves none, FIRST_PORT and what follows. */
void ports_init(struct ports *ports) {
    uint32_t low = 32768;
    uint32_t high = 60999;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file != NULL) {
        if (fscanf(file, "%u %u", &low, &high) != 2) {
            low = LAST_PORT;
        }
        fclose(file);
    }
    *ports = (struct ports){.next = FIRST_PORT, .end = low};
    if (low < FIRST_PORT + ROOM_NEEDED) {
        bool above = high + ROOM_NEEDED <= LAST_PORT;
        *ports = (struct ports){.next = above ? high + 1 : FIRST_PORT, .end = LAST_PORT};
    }
    /* Two benches at a time should not try the same ports in the same order. */
    ports->next += (uint32_t)getpid() % ((ports->end - ports->next) / 2);
}

static bool port_is_free(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool is_free = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_free;
}

uint16_t ports_take(struct ports *ports, struct error *error) {
    while (ports->next < ports->end) {
        uint16_t port = (uint16_t)ports->next++;
        if (port_is_free(port)) {
            return port;
        }
    }
    error_set(error, "no free port is left on 127.0.0.1 outside the range of net.ipv4.ip_local_port_range");
    return 0;
}

#include "lua/fault.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(fault, is_told_once_a_second_for_each_place, .timeout = 10) {
    struct faults faults = {0};
    uint32_t untold = 99;
    cr_assert(fault_is_due(&faults, "a.lua:1: one", 5000000, &untold));
    cr_assert_eq(untold, 0);
    cr_assert_not(fault_is_due(&faults, "a.lua:1: one, other words", 5000001, &untold));
    cr_assert(fault_is_due(&faults, "a.lua:2: one", 5000001, &untold));
    cr_assert_not(fault_is_due(&faults, "a.lua:1: one", 5999999, &untold));
    cr_assert(fault_is_due(&faults, "a.lua:1: one", 6000000, &untold));
    cr_assert_eq(untold, 2);
}

Test(fault, keeps_quiet_when_there_are_too_many_places, .timeout = 10) {
    struct faults faults = {0};
    uint32_t untold = 0;
    int told = 0;
    for (int place = 0; place < 1000; place++) {
        char text[64];
        snprintf(text, sizeof(text), "a.lua:%d: no luck", place);
        told += fault_is_due(&faults, text, 5000000, &untold);
    }
    cr_assert_eq(told, FAULT_PLACES);
}

Test(fault, is_one_line_with_its_traceback, .timeout = 10) {
    char line[128];
    fault_format("a.lua:1: no\tluck\nat all\nstack traceback:\n\ta.lua:1: in f\n\ta.lua:2: in g", line, sizeof(line));
    cr_assert_str_eq(line, "a.lua:1: no\tluck\nat all <- a.lua:1: in f <- a.lua:2: in g");
    fault_format("0123456789", line, 10);
    cr_assert_leq(strlen(line), 9);
}

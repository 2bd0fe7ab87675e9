/* `moonring ctl`: tells a running moonring what to do, and shows its answer. */
#ifndef MOONRING_PROGRAM_CTL_H
#define MOONRING_PROGRAM_CTL_H

struct ctl_request {
    const char *config_path; /* whose admin.bind says where; NULL: */
    const char *socket;      /* there; NULL: ADMIN_ADDRESS_DEFAULT */
    const char *order;
};

/* Returns the exit status: 0 done, or nothing was to be done; 2 refused, or wrong usage; 3 nobody answers. */
int ctl_run(const struct ctl_request *request);

#endif

/* Preloaded by the ack benchmark: every fsync and fdatasync costs a millisecond and is counted in a shared file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned long *counter(void) {
    static _Atomic unsigned long *shared;
    if (shared == NULL) {
        const char *path = getenv("SLOW_FSYNC_COUNT");
        int file = path == NULL ? -1 : open(path, O_RDWR);
        if (file >= 0) {
            void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (page != MAP_FAILED) shared = page;
            close(file);
        }
    }
    return shared;
}

static int slow(int (*sync_file)(int), int file) {
    struct timespec pause = {0, 1000000};
    int result = sync_file(file);
    nanosleep(&pause, NULL);
    if (counter() != NULL) atomic_fetch_add(counter(), 1);
    return result;
}

int fsync(int file) {
    static int (*real)(int);
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return slow(real, file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return slow(real, file);
}

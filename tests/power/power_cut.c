/* Preloaded into `omgate serve` by tests/it/power.rs: a disk that forgets what was not synced.
 *
 * Writes to the database and to the files beside it (POWER_CUT_FILE names the database) go through, and what stood there
 * before is kept until the file is synced. When the power fails, sectors of 512 or 4096 bytes that were not synced get
 * back what they had, each by the throw of a die (POWER_CUT_SEED), and the process ends at once. The power fails at the
 * POWER_CUT_AT-th write or sync, counted from the start; a sync that the cut meets does not happen.
 *
 * The index of the write-ahead log (-shm) is mapped memory, which nobody syncs and everybody rebuilds: it is left alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct write_record {
    struct write_record *older;
    int which; /* of the names below */
    ino_t inode;
    off_t offset;
    size_t length;
    off_t size_before;
    unsigned char before[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct write_record *newest;
static unsigned long events, cut_at;
static uint64_t dice;
static char database[PATH_MAX];
static int ready;

/* The files whose contents must survive: the database, its log, its journal. They are opened anew when the power fails:
 * to close a second descriptor any earlier would take the locks of the first. */
static const char *const suffixes[] = {"", "-wal", "-journal"};

static void prepare(void) {
    if (ready) return;
    ready = 1;
    const char *at = getenv("POWER_CUT_AT"), *seed = getenv("POWER_CUT_SEED"), *file = getenv("POWER_CUT_FILE");
    cut_at = at == NULL ? 0 : strtoul(at, NULL, 10);
    dice = seed == NULL ? 1 : strtoull(seed, NULL, 10) * 2654435761u + 1;
    if (file != NULL) snprintf(database, sizeof database, "%s", file);
}

static unsigned roll(unsigned sides) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)(dice % sides);
}

/* Which of ours a file is; -1: none. */
static int which(int file) {
    char link[64], path[PATH_MAX];
    if (database[0] == 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t ours = strlen(database);
    if (length < (ssize_t)ours) return -1;
    path[length] = 0;
    if (strncmp(path, database, ours) != 0) return -1;
    for (int known = 0; known < 3; known++)
        if (strcmp(path + ours, suffixes[known]) == 0) return known;
    return -1;
}

/* The file that stands there now, if it is the one that was written. */
static int reopened(const struct write_record *record) {
    static int files[3] = {-1, -1, -1};
    char path[PATH_MAX + 16];
    struct stat now;
    int *file = &files[record->which];
    if (*file < 0) {
        snprintf(path, sizeof path, "%s%s", database, suffixes[record->which]);
        *file = open(path, O_RDWR);
    }
    return *file >= 0 && fstat(*file, &now) == 0 && now.st_ino == record->inode ? *file : -1;
}

static ssize_t raw_write(int file, const void *bytes, size_t length, off_t offset) {
    return syscall(SYS_pwrite64, file, bytes, length, offset);
}

/* Gives a sector, or all of a record, what it had before. */
static void give_back(struct write_record *record) {
    unsigned sector = roll(2) ? 512 : 4096, fate = roll(4);
    struct stat now;
    int file = reopened(record);
    if (fate == 0 || file < 0) return; /* all of it came through, or the file is gone */
    for (size_t at = 0; at < record->length;) {
        size_t to_edge = sector - (size_t)((record->offset + (off_t)at) % sector);
        size_t length = record->length - at < to_edge ? record->length - at : to_edge;
        if (fate != 1 && roll(2)) { /* torn: this sector came through */
            at += length;
            continue;
        }
        if (raw_write(file, record->before + at, length, record->offset + (off_t)at) < 0) _exit(98);
        at += length;
    }
    /* The size of a file that grew is lost with it, if all was. */
    if (fate == 1 && fstat(file, &now) == 0 && now.st_size > record->size_before
        && record->offset + (off_t)record->length >= record->size_before) {
        if (syscall(SYS_ftruncate, file, record->size_before) < 0) _exit(97);
    }
}

/* One more event; at the last one the power fails. Called under the lock. */
static void happen(void) {
    prepare();
    events++;
    if (cut_at == 0 || events < cut_at) return;
    for (struct write_record *record = newest; record != NULL; record = record->older) give_back(record);
    _exit(99);
}

/* Keeps what stands where something is about to be written. */
static void keep(int file, int known, size_t length, off_t offset) {
    struct stat before;
    if (fstat(file, &before) != 0) return;
    struct write_record *record = calloc(1, sizeof *record + length);
    if (record == NULL) _exit(96);
    *record = (struct write_record){newest, known, before.st_ino, offset, length, before.st_size};
    /* What lies behind the end reads as zeros, as a file system gives it. */
    if (syscall(SYS_pread64, file, record->before, length, offset) < 0) _exit(95);
    newest = record;
}

/* A file is synced: nothing that was written to it can be lost any more. */
static void forget(int file) {
    struct stat synced;
    if (fstat(file, &synced) != 0) return;
    for (struct write_record **at = &newest; *at != NULL;) {
        struct write_record *record = *at;
        if (record->inode == synced.st_ino) {
            *at = record->older;
            free(record);
        } else {
            at = &record->older;
        }
    }
}

static ssize_t write_at(int file, int known, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&lock);
    happen();
    keep(file, known, length, offset);
    ssize_t written = raw_write(file, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return written;
}

static int ours(int file) {
    int saved = errno;
    pthread_mutex_lock(&lock);
    prepare();
    int answer = which(file);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return answer;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t offset) {
    int known = ours(file);
    return known >= 0 ? write_at(file, known, bytes, length, offset) : raw_write(file, bytes, length, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) { return pwrite64(file, bytes, length, offset); }

ssize_t write(int file, const void *bytes, size_t length) {
    int known = ours(file);
    if (known < 0) return syscall(SYS_write, file, bytes, length);
    off_t offset = lseek(file, 0, SEEK_CUR);
    ssize_t written = write_at(file, known, bytes, length, offset);
    if (written > 0) lseek(file, offset + written, SEEK_SET);
    return written;
}

int ftruncate64(int file, off_t length) {
    int known = ours(file);
    if (known < 0) return (int)syscall(SYS_ftruncate, file, length);
    struct stat before;
    pthread_mutex_lock(&lock);
    happen();
    if (fstat(file, &before) == 0 && before.st_size > length) keep(file, known, (size_t)(before.st_size - length), length);
    int result = (int)syscall(SYS_ftruncate, file, length);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int sync_with(long call, int file) {
    if (ours(file) < 0) return (int)syscall(call, file);
    pthread_mutex_lock(&lock);
    happen();
    int result = (int)syscall(call, file);
    if (result == 0) forget(file);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int file) { return sync_with(SYS_fsync, file); }

int fdatasync(int file) { return sync_with(SYS_fdatasync, file); }

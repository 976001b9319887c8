/* The version that this program was compiled against is the version that it runs with. */
#include <castio.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    uint32_t parts = CASTIO_VERSION_MAJOR * 1000000 + CASTIO_VERSION_MINOR * 1000 + CASTIO_VERSION_PATCH;
    printf("header %s (%d), library %s (%u)\n", CASTIO_VERSION_STRING, CASTIO_VERSION_NUMBER, castio_version(),
           (unsigned)castio_version_number());
    if (castio_version_number() != CASTIO_VERSION_NUMBER || CASTIO_VERSION_NUMBER != parts)
        return 1;
    return strcmp(castio_version(), CASTIO_VERSION_STRING) != 0;
}

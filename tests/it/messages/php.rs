//! PHP's own encoding tests, as php-soap keeps them: the same requests, and the same values read back.

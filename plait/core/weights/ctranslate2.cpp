#include "plait/core/weights/ctranslate2.h"

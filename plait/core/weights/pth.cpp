#include "plait/core/weights/pth.h"

#include "plait/core/weights/model_folder.h"

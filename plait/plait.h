#pragma once
/// Everything that a program which uses models needs. Programs that need less include the headers
/// below one by one.
#include "plait/api/auto_model.h"
#include "plait/api/detector_training.h"
#include "plait/api/face_detector.h"
#include "plait/api/image_classifier.h"
#include "plait/api/multimodal_model.h"
#include "plait/api/object_detector.h"
#include "plait/api/ocr_reader.h"
#include "plait/api/recipe.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/data/dataset.h"
#include "plait/data/datasets/datasets.h"
#include "plait/models/catalogue.h"
#include "plait/models/quality/quality.h"
#include "plait/models/registry.h"

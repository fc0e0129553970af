#pragma once
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include "plait/core/sample.h"

/// Shared by the binding files. Python holds handles to C++ objects; tensors cross without a copy;
/// every call that computes releases the GIL.
namespace plait::python {

namespace py = pybind11;

/// None, bool, int, float, str, list, tuple, dict (str keys) ↔ JSON.
Json to_json(const py::handle& object);
py::object from_json(const Json& json);

/// A stream's value as users hand it over: str (text, or a path for other modalities), os.PathLike,
/// bytes, dict, torch tensor, NumPy array, PIL picture, (samples, sample_rate). @throws Error that
/// names the stream and the type.
Value to_value(const py::handle& object, Modality modality, const std::string& stream);
/// The value as Python would have given it.
py::object from_value(const Value& value);

TensorMap to_tensors(const py::dict& tensors);
py::dict from_tensors(const TensorMap& tensors);

void bind_models(py::module_& m);
void bind_data(py::module_& m);
void bind_api(py::module_& m);
void bind_captions(py::module_& m);
void bind_speech(py::module_& m);
void bind_text(py::module_& m);
void bind_sight(py::module_& m);
void bind_pictures(py::module_& m);
void bind_video(py::module_& m);

}  // namespace plait::python

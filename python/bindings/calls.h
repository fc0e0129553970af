#pragma once
#include <string>

#include "plait/api/text_generator.h"
#include "python/bindings/common.h"

/// What the calls of models have in common.
namespace plait::python {

inline api::ModelOptions model_options(const std::string& backend,
                                       const std::string& dtype = "float32") {
  api::ModelOptions how;
  how.backend = backend;
  how.dtype = dtype;
  return how;
}

/// Ctrl-C in Python ends the work with KeyboardInterrupt. The interpreter's lock is held.
inline void throw_if_interrupted() {
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

/// Calls `callback` unless it is None; what it gives says whether to go on, None: yes.
template <class... Args>
bool goes_on(const py::object& callback, Args&&... args) {
  throw_if_interrupted();
  if (callback.is_none()) return true;
  py::object go_on = callback(std::forward<Args>(args)...);
  return go_on.is_none() || go_on.cast<bool>();
}

/// Runs f(api::OnPiece) without the interpreter's lock; pieces go to Python, where false or an
/// exception cancels.
template <class F>
py::object written(const py::object& on_piece, F f) {
  const api::OnPiece tell = [&](const std::string& piece) {
    py::gil_scoped_acquire acquire;
    return goes_on(on_piece, piece);
  };
  Json out;
  {
    py::gil_scoped_release release;
    out = f(tell).to_json();
  }
  return from_json(out);
}

}  // namespace plait::python

#include <ATen/ATen.h>

#include <filesystem>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/log.h"
#include "python/bindings/common.h"

namespace plait::python {

namespace {

std::string type_name(const py::handle& object) {
  return py::str(py::type::of(object).attr("__name__")).cast<std::string>();
}

/// PCM as float32 in [-1, 1]: integers by their full scale.
at::Tensor to_pcm(const at::Tensor& samples) {
  switch (samples.scalar_type()) {
    case at::kByte: return (samples.to(at::kFloat) - 128.0) / 128.0;
    case at::kShort: return samples.to(at::kFloat) / 32768.0;
    case at::kInt: return samples.to(at::kFloat) / 2147483648.0;
    default: return samples.to(at::kFloat);
  }
}

}  // namespace

Json to_json(const py::handle& object) {
  if (object.is_none()) return {};
  if (py::isinstance<py::bool_>(object)) return object.cast<bool>();
  if (py::isinstance<py::int_>(object)) {
    int overflow = 0;
    auto number = static_cast<int64_t>(PyLong_AsLongLongAndOverflow(object.ptr(), &overflow));
    require(overflow == 0, "python", "expected an integer of at most 64 bits");
    return number;
  }
  if (py::isinstance<py::float_>(object)) return object.cast<double>();
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  if (py::isinstance<py::dict>(object)) {
    Json::Object out;
    for (auto [key, value] : object.cast<py::dict>())
      out.emplace_back(py::str(key).cast<std::string>(), to_json(value));
    return Json(std::move(out));
  }
  if (py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object)) {
    Json::Array out;
    for (auto item : object) out.push_back(to_json(item));
    return Json(std::move(out));
  }
  if (py::hasattr(object, "item"))
    return to_json(object.attr("item")());  // NumPy and torch scalars
  fail(ErrorCode::kInvalidArgument, "python",
       "expected None, bool, number, str, list or dict, got " + type_name(object));
}

py::object from_json(const Json& json) {
  if (json.is_null()) return py::none();
  if (json.is_bool()) return py::bool_(json.as_bool());
  if (json.is_int()) return py::int_(json.as_int());
  if (json.is_number()) return py::float_(json.as_double());
  if (json.is_string()) return py::str(json.as_string());
  if (json.is_array()) {
    py::list out;
    for (const Json& item : json.items()) out.append(from_json(item));
    return out;
  }
  py::dict out;
  for (const auto& [key, item] : json.members()) out[py::str(key)] = from_json(item);
  return out;
}

Value to_value(const py::handle& object, Modality modality, const std::string& stream) {
  if (py::isinstance<py::str>(object)) {
    std::string text = object.cast<std::string>();
    if (modality == Modality::kText) return text;
    return Path{text};
  }
  if (PyBytes_Check(object.ptr()) || PyByteArray_Check(object.ptr()) ||
      PyMemoryView_Check(object.ptr())) {
    auto bytes = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(object.ptr()));
    if (!bytes) throw py::error_already_set();
    return Bytes{bytes.cast<std::string>()};
  }
  if (THPVariable_Check(object.ptr())) return THPVariable_Unpack(object.ptr()).detach();
  if (py::hasattr(object, "__fspath__"))
    return Path{py::str(object.attr("__fspath__")()).cast<std::string>()};
  if (py::isinstance<py::tuple>(object) && py::len(object) == 2 && modality == Modality::kAudio) {
    py::tuple pair = object.cast<py::tuple>();
    Value samples = to_value(pair[0], modality, stream);
    int64_t rate = PyLong_Check(pair[1].ptr()) || py::hasattr(pair[1], "__index__")
                       ? pair[1].cast<int64_t>()
                       : 0;
    if (auto* tensor = std::get_if<at::Tensor>(&samples); tensor && rate > 0)
      return Waveform{to_pcm(*tensor), rate};
    fail(ErrorCode::kInvalidArgument, "python",
         stream + ": expected (samples, rate) with a rate in Hz as a positive int");
  }
  if (py::isinstance<py::dict>(object)) return to_json(object);
  bool picture = py::hasattr(object, "mode") && py::hasattr(object, "convert");  // PIL.Image
  if (py::hasattr(object, "__array__") || picture || py::isinstance<py::list>(object)) {
    py::object source = picture ? py::object(object.attr("convert")("RGB"))
                                : py::reinterpret_borrow<py::object>(object);
    py::object array =
        py::module_::import("numpy").attr("array")(source);  // a copy, writable and contiguous
    if (py::str(array.attr("dtype").attr("kind")).cast<std::string>() != "O") {
      py::object tensor = py::module_::import("torch").attr("from_numpy")(array);
      at::Tensor unpacked = THPVariable_Unpack(tensor.ptr());
      return unpacked.scalar_type() == at::kDouble ? unpacked.to(at::kFloat) : unpacked;
    }
  }
  fail(ErrorCode::kInvalidArgument, "python",
       stream +
           ": expected str, path, bytes, dict, array, tensor, picture or (samples, rate), got " +
           type_name(object));
}

py::object from_value(const Value& value) {
  if (auto* text = std::get_if<std::string>(&value)) return py::str(*text);
  if (auto* path = std::get_if<Path>(&value))
    return py::module_::import("pathlib").attr("Path")(path->path);
  if (auto* bytes = std::get_if<Bytes>(&value)) return py::bytes(bytes->bytes);
  if (auto* json = std::get_if<Json>(&value)) return from_json(*json);
  if (auto* wave = std::get_if<Waveform>(&value))
    return py::make_tuple(wave->samples, wave->sample_rate);
  return py::cast(std::get<at::Tensor>(value));
}

TensorMap to_tensors(const py::dict& tensors) {
  TensorMap out;
  for (auto [name, tensor] : tensors) {
    if (!THPVariable_Check(tensor.ptr())) {
      fail(ErrorCode::kInvalidArgument, "python",
           py::str(name).cast<std::string>() + ": expected a torch tensor");
    }
    out[py::str(name).cast<std::string>()] = THPVariable_Unpack(tensor.ptr());
  }
  return out;
}

py::dict from_tensors(const TensorMap& tensors) {
  py::dict out;
  for (const auto& [name, tensor] : tensors) out[py::str(name)] = tensor;
  return out;
}

namespace {

py::object* data_error = nullptr;
py::object* limit_error = nullptr;

void set_python_error(const Error& e) {
  PyObject* type = PyExc_RuntimeError;
  switch (e.code()) {
    case ErrorCode::kInvalidArgument: type = PyExc_ValueError; break;
    case ErrorCode::kCorruptData: type = data_error->ptr(); break;
    case ErrorCode::kNotFound: type = PyExc_FileNotFoundError; break;
    case ErrorCode::kResourceLimit: type = limit_error->ptr(); break;
    case ErrorCode::kIo: type = PyExc_OSError; break;
    case ErrorCode::kUnavailable:
    case ErrorCode::kInternal: break;
  }
  PyErr_SetString(type, e.what());
}

}  // namespace
}  // namespace plait::python

PYBIND11_MODULE(_C, m) {
  using namespace plait;
  using namespace plait::python;
  m.doc() = "Plait's C++ library";
  data_error = new py::object(py::exception<Error>(m, "DataError", PyExc_ValueError));
  limit_error = new py::object(py::exception<Error>(m, "LimitError", PyExc_ValueError));
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      set_python_error(e);
    } catch (const c10::Error& e) {
      PyErr_SetString(PyExc_RuntimeError, e.what_without_backtrace());
    } catch (const std::filesystem::filesystem_error& e) {
      PyErr_SetString(PyExc_OSError, e.what());
    }
  });
  m.def("available_backends", &available_backends);
  m.def("describe_devices", [] { return from_json(describe_devices()); });
  m.def("set_threads", &set_threads);
  m.def("threads", &threads);
  m.def("set_log_level", [](const std::string& name) {
    static const std::map<std::string, LogLevel> kLevels = {{"debug", LogLevel::kDebug},
                                                            {"info", LogLevel::kInfo},
                                                            {"warning", LogLevel::kWarning},
                                                            {"error", LogLevel::kError},
                                                            {"off", LogLevel::kOff}};
    auto it = kLevels.find(name);
    if (it == kLevels.end())
      fail(ErrorCode::kInvalidArgument, "log", "expected debug, info, warning, error or off");
    set_log_level(it->second);
  });
  bind_models(m);
  bind_data(m);
  bind_api(m);
  bind_speech(m);
  bind_text(m);
  bind_captions(m);
  bind_sight(m);
  bind_pictures(m);
  bind_video(m);
}

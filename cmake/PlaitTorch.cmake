# Imported targets for LibTorch: headers, libtorch, libtorch_cpu, libc10 and, where the wheel has them, the CUDA
# libraries. Torch's own CMake package would ask for a CUDA compiler as soon as the wheel was built with CUDA.
#
#   PLAIT_TORCH_DIR   the folder of the Python package `torch` (or of an unpacked LibTorch)
#
# Defines: plait::torch, plait::torch_python, PLAIT_TORCH_VERSION, PLAIT_TORCH_CUDA (ON when CUDA libraries are there).
if(NOT PLAIT_TORCH_DIR)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -c
            "import importlib.util as u; s=u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE PLAIT_TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(NOT EXISTS "${PLAIT_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found (looked in '${PLAIT_TORCH_DIR}'). "
                      "Install torch==2.13.0 in the active Python, or set PLAIT_TORCH_DIR to its folder.")
endif()
set(PLAIT_TORCH_DIR "${PLAIT_TORCH_DIR}" CACHE PATH "Folder of the torch package" FORCE)

file(STRINGS "${PLAIT_TORCH_DIR}/include/torch/headeronly/version.h" _torch_version_lines
     REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
set(PLAIT_TORCH_VERSION "")
foreach(_line IN LISTS _torch_version_lines)
  string(REGEX REPLACE ".* ([0-9]+)$" "\\1" _n "${_line}")
  list(APPEND PLAIT_TORCH_VERSION ${_n})
endforeach()
list(JOIN PLAIT_TORCH_VERSION "." PLAIT_TORCH_VERSION)
if(PLAIT_TORCH_VERSION AND PLAIT_TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "LibTorch ${PLAIT_TORCH_VERSION} in ${PLAIT_TORCH_DIR} is too old: 2.11 or newer is needed")
endif()

function(_plait_torch_library name file)
  if(EXISTS "${PLAIT_TORCH_DIR}/lib/${file}")
    add_library(${name} SHARED IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${PLAIT_TORCH_DIR}/lib/${file}" IMPORTED_NO_SONAME OFF)
  endif()
endfunction()

_plait_torch_library(plait_torch_c10 libc10.so)
_plait_torch_library(plait_torch_cpu libtorch_cpu.so)
_plait_torch_library(plait_torch_base libtorch.so)
_plait_torch_library(plait_torch_c10_cuda libc10_cuda.so)
_plait_torch_library(plait_torch_cuda libtorch_cuda.so)
_plait_torch_library(plait_torch_py libtorch_python.so)

# torch's own OpenMP run time: a second one in the process would make at::parallel_for run serially.
file(GLOB _torch_gomp "${PLAIT_TORCH_DIR}/lib/libgomp*.so*" "${PLAIT_TORCH_DIR}/../torch.libs/libgomp*.so*")
list(APPEND _torch_gomp "")
list(GET _torch_gomp 0 PLAIT_TORCH_GOMP)

add_library(plait_torch INTERFACE)
add_library(plait::torch ALIAS plait_torch)
target_include_directories(plait_torch SYSTEM INTERFACE
  "${PLAIT_TORCH_DIR}/include" "${PLAIT_TORCH_DIR}/include/torch/csrc/api/include")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(plait_torch INTERFACE -fopenmp)
else()
  # Clang's -fopenmp needs LLVM's run time, a second one beside torch's.
  message(STATUS "at::parallel_for runs serially in code compiled by ${CMAKE_CXX_COMPILER_ID}")
endif()
target_link_libraries(plait_torch INTERFACE plait_torch_base plait_torch_cpu plait_torch_c10)
if(PLAIT_TORCH_GOMP)
  target_link_libraries(plait_torch INTERFACE "${PLAIT_TORCH_GOMP}")
endif()
set(PLAIT_TORCH_CUDA OFF)
if(TARGET plait_torch_cuda)
  set(PLAIT_TORCH_CUDA ON)
  # --no-as-needed: the CUDA kernels register themselves when the library is loaded; nothing of ours names a symbol.
  target_link_options(plait_torch INTERFACE "LINKER:--no-as-needed" "${PLAIT_TORCH_DIR}/lib/libtorch_cuda.so"
                      "${PLAIT_TORCH_DIR}/lib/libc10_cuda.so" "LINKER:--as-needed")
endif()

if(TARGET plait_torch_py)
  add_library(plait_torch_python INTERFACE)
  add_library(plait::torch_python ALIAS plait_torch_python)
  target_link_libraries(plait_torch_python INTERFACE plait_torch plait_torch_py)
endif()

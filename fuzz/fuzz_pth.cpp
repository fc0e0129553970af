#include <ATen/ATen.h>

#include "fuzz/target.h"
#include "plait/core/weights/pth.h"
#include "tests/core/stored_zip.h"

/// Archives and files of the old format are read as they are; whatever else is run as the pickle of
/// an archive, so that mutations reach the pickle machine.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    std::string bytes(plait::fuzz::text(data, size));
    bool archive = bytes.starts_with("PK") || bytes.starts_with("\x80\x02\x8a\x0a\x6c");
    for (const auto& [name, tensor] :
         plait::parse_pth(archive ? bytes : plait::tests::pth_archive(bytes), "input")) {
      if (tensor.numel() < (1 << 20)) tensor.clone();
    }
  });
}

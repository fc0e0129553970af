#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/core/parallel.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/packages/process.h"

namespace plait::data {

std::vector<bool> render_svgs(const std::vector<SvgJob>& jobs, const std::string& what,
                              const Progress& progress) {
  try {
    run_checked({"rsvg-convert", "--version"});
  } catch (const Error& error) {
    fail(ErrorCode::kUnavailable, "datasets",
         what + " needs rsvg-convert (Debian: apt-get install librsvg2-bin): " + error.what());
  }
  std::vector<char> good(jobs.size(), 0);
  for_each_in_parallel(
      jobs.size(),
      [&](size_t i) {
        const SvgJob& job = jobs[i];
        std::string size = std::to_string(job.size);
        try {
          ProcessOptions options;
          options.timeout = std::chrono::seconds(20);
          ProcessResult result = run_process({"rsvg-convert", "--width", size, "--height", size,
                                              "--keep-aspect-ratio", "--output", job.png, job.svg},
                                             options);
          struct stat info {};
          good[i] = result.status == 0 && ::stat(job.png.c_str(), &info) == 0 && info.st_size > 0;
          if (!good[i])
            log_debug("datasets", "rsvg-convert refuses " + job.svg + ": " + last_words(result));
        } catch (const Error& error) {
          if (error.code() != ErrorCode::kResourceLimit) throw;
          log_debug("datasets", "rsvg-convert takes too long for " + job.svg);
        }
      },
      [&](size_t done) {
        if (progress) {
          progress({.step = "render",
                    .what = what,
                    .done = static_cast<int64_t>(done),
                    .total = static_cast<int64_t>(jobs.size()),
                    .unit = "pictures"});
        }
      });
  return {good.begin(), good.end()};
}

}  // namespace plait::data

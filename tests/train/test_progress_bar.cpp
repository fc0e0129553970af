#include "plait/train/progress_bar.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace plait::train {
namespace {

std::string drawn(bool force) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  {
    ProgressBar bar(ends[1], force);
    Progress p;
    p.total_steps = 10;
    for (p.step = 1; p.step <= 10; ++p.step) {
      p.loss = 0.5;
      p.elapsed_seconds = static_cast<double>(p.step) * 0.01;
      p.eta_seconds = 75;
      p.metrics = p.step == 10 ? Scalars{{"accuracy", 0.75}} : Scalars{};
      bar.update(p);
    }
  }
  ::close(ends[1]);
  std::string out(10000, '\0');
  out.resize(static_cast<size_t>(::read(ends[0], out.data(), out.size())));
  ::close(ends[0]);
  return out;
}

TEST(ProgressBar, IsSilentWithoutATerminal) { EXPECT_EQ(drawn(false), ""); }

TEST(ProgressBar, ShowsStepLossTimeAndMetrics) {
  std::string text = drawn(true);
  EXPECT_NE(text.find("1/10"), std::string::npos);
  EXPECT_NE(text.find("left 1:15"), std::string::npos);
  EXPECT_EQ(text.find("5/10"), std::string::npos) << "drawn too often";
  EXPECT_NE(text.find("100% [========================] 10/10"), std::string::npos) << text;
  EXPECT_NE(text.find("accuracy 0.75"), std::string::npos);
  EXPECT_EQ(text.back(), '\n');
}

TEST(ProgressBar, Durations) {
  EXPECT_EQ(format_duration(0.4), "0:00");
  EXPECT_EQ(format_duration(67), "1:07");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(-1), "?");
}

}  // namespace
}  // namespace plait::train

#include <iostream>

#include "plait/core/error.h"
#include "plait/core/json.h"

int main() {
  try {
    plait::Json::parse("[1,");
  } catch (const plait::Error& e) {
    std::cout << e.what() << "\n";
    return e.code() == plait::ErrorCode::kCorruptData ? 0 : 1;
  }
  return 1;
}

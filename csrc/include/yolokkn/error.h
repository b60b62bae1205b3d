// Errors of the C++ API. Messages read `<function>: <argument> must <rule>, got <what came>`.
#pragma once

#include <stdexcept>
#include <string>

namespace yolokkn {

// A value or shape that breaks a function's rule (ValueError in Python).
class ValueError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// A call of CUDA's that failed (DeviceError in Python).
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const char* function, const std::string& rest) {
  throw ValueError(std::string(function) + ": " + rest);
}

}  // namespace yolokkn

#include "sherd/base/errors.hpp"

#include <utility>

namespace sherd {
namespace {

std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) {
    if (!all.empty()) all += '\n';
    all += line;
  }
  return all;
}

}  // namespace

ConfigError::ConfigError(std::vector<std::string> all)
    : Error(joined(all)), problems(std::move(all)) {}

Interrupted::Interrupted(int number)
    : Error("interrupted by signal " + std::to_string(number)), signal(number) {}

void throw_usage(std::string_view message) { throw UsageError(std::string(message)); }

int exit_code(const std::exception& error) noexcept {
  if (const auto* stopped = dynamic_cast<const Interrupted*>(&error)) return 128 + stopped->signal;
  if (dynamic_cast<const ConfigError*>(&error) != nullptr) return 2;
  if (dynamic_cast<const CapacityError*>(&error) != nullptr) return 3;
  if (dynamic_cast<const DataError*>(&error) != nullptr) return 4;
  if (dynamic_cast<const DeviceError*>(&error) != nullptr) return 5;
  if (dynamic_cast<const CommError*>(&error) != nullptr) return 5;
  if (dynamic_cast<const DivergedError*>(&error) != nullptr) return 6;
  return 1;
}

}  // namespace sherd

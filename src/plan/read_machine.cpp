#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <variant>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/base/suggest.hpp"
#include "sherd/io/json.hpp"
#include "sherd/plan/machine.hpp"

namespace sherd::plan {
namespace {

using nlohmann::json;

struct Key {
  const char* name;
  std::variant<double Machine::*, Bytes Machine::*, int Machine::*, std::string Machine::*,
               bool Machine::*>
      member;
  bool needed;
  double low, high;  // of a number; low itself is allowed only where it is 0 or whole
};

constexpr double most_rate = 1e18, most_bytes = 0x1p62;

const std::array keys = {
    Key{"name", &Machine::name, true, 0, 0},
    Key{"rates", &Machine::measured, true, 0, 0},
    Key{"source", &Machine::source, true, 0, 0},
    Key{"flops", &Machine::flops, true, 1, most_rate},
    Key{"half_flops", &Machine::half_flops, false, 0, most_rate},
    Key{"efficiency", &Machine::efficiency, false, 0.001, 1},
    Key{"memory_bandwidth", &Machine::memory_bandwidth, true, 1, most_rate},
    Key{"net_bandwidth", &Machine::net_bandwidth, true, 1, most_rate},
    Key{"local_bandwidth", &Machine::local_bandwidth, false, 0, most_rate},
    Key{"net_latency", &Machine::net_latency, false, 0, 3600},
    Key{"host_bandwidth", &Machine::host_bandwidth, false, 0, most_rate},
    Key{"host_update_bandwidth", &Machine::host_update_bandwidth, false, 0, most_rate},
    Key{"disk_bandwidth", &Machine::disk_bandwidth, false, 0, most_rate},
    Key{"ranks", &Machine::ranks, false, 1, 64},
    Key{"device_memory", &Machine::device_memory, false, 0, most_bytes},
    Key{"host_memory", &Machine::host_memory, false, 0, most_bytes},
    Key{"file_capacity", &Machine::file_capacity, false, 0, most_bytes},
};

// Takes the value of one key; what it returns is what would have been right.
struct Take {
  const Key& key;
  const json& value;
  Machine& machine;

  std::string operator()(double Machine::*member) const {
    if (!value.is_number() || !in_range()) return "a number" + range();
    machine.*member = value.get<double>();
    return {};
  }
  std::string operator()(Bytes Machine::*member) const {
    if (!value.is_number_unsigned() || !in_range()) return "a whole number" + range();
    machine.*member = value.get<Bytes>();
    return {};
  }
  std::string operator()(int Machine::*member) const {
    if (!value.is_number_integer() || !in_range()) return "a whole number" + range();
    machine.*member = value.get<int>();
    return {};
  }
  std::string operator()(std::string Machine::*member) const {
    constexpr std::size_t most = 1000;
    const auto* text = value.get_ptr<const std::string*>();
    const auto control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; };
    if (text == nullptr || text->empty() || text->size() > most ||
        std::any_of(text->begin(), text->end(), control))
      return "a line of text of at most 1000 bytes";
    machine.*member = *text;
    return {};
  }
  std::string operator()(bool Machine::*member) const {
    Machine other = machine;
    for (const bool is : {true, false}) {
      other.*member = is;
      if (value == std::string(kind_of_rates(other))) {
        machine.*member = is;
        return {};
      }
    }
    return "\"measured\" or \"published peaks\"";
  }

 private:
  [[nodiscard]] bool in_range() const {
    const auto number = value.get<double>();
    return std::isfinite(number) && number >= key.low && number <= key.high;
  }
  [[nodiscard]] std::string range() const {
    return " from " + json(key.low).dump() + " to " + json(key.high).dump();
  }
};

std::string shown(const json& value) {
  return io::printable(value.dump(-1, ' ', true, json::error_handler_t::replace));
}

}  // namespace

Machine read_machine(const std::string& path) {
  constexpr io::JsonLimits limits{64 * kib, 256, 4};
  const json all = io::read_json(io::File(path), limits);
  if (!all.is_object())
    throw DataError(path + ": got no JSON object, need a machine's description");
  std::vector<std::string> names;
  for (const Key& key : keys) names.emplace_back(key.name);
  std::string problems;
  Machine machine;
  machine.net_latency = 0;
  for (const auto& [name, value] : all.items()) {
    const auto key = std::find(names.begin(), names.end(), name) - names.begin();
    if (static_cast<std::size_t>(key) == keys.size()) {
      problems += "; unknown key \"" + io::printable(name) + "\"" + did_you_mean(name, names);
      continue;
    }
    const Key& known = keys[static_cast<std::size_t>(key)];
    const std::string need = std::visit(Take{known, value, machine}, known.member);
    if (!need.empty()) problems += "; \"" + name + "\": got " + shown(value) + ", need " + need;
  }
  for (const Key& key : keys) {
    if (key.needed && !all.contains(key.name))
      problems += "; \"" + std::string(key.name) + "\" is missing";
  }
  if (!problems.empty()) throw DataError(path + ": " + problems.substr(2));
  return machine;
}

}  // namespace sherd::plan

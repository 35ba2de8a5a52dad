#pragma once
// What a file system holds, and what changed in it.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::test {

using FileBytes = std::vector<std::byte>;

/// What a file system holds: nodes by number, the first folder is 1. Copies share bytes of files.
struct Tree {
  struct Node {
    bool folder = false;
    std::shared_ptr<const FileBytes> bytes = std::make_shared<FileBytes>();
    std::map<std::string, int> names{};
  };
  std::map<int, Node> nodes{{1, {.folder = true}}};
  int next = 2;

  /// Of absolute paths; an errno below zero.
  [[nodiscard]] int find(std::string_view path) const {
    int node = 1;
    while (!path.empty()) {
      path.remove_prefix(1);
      const std::size_t end = std::min(path.find('/'), path.size());
      const Node& at = nodes.at(node);
      if (!at.folder) return -ENOTDIR;
      if (end > 0) {
        const auto found = at.names.find(std::string(path.substr(0, end)));
        if (found == at.names.end()) return -ENOENT;
        node = found->second;
      }
      path.remove_prefix(end);
    }
    return node;
  }
  /// Some path of a node.
  [[nodiscard]] std::string path_of(int node) const {
    for (const auto& [number, at] : nodes) {
      for (const auto& [name, inside] : at.names) {
        if (inside == node) return path_of(number) + "/" + name;
      }
    }
    return "";
  }
};

/// One change, in the order the system saw them.
struct Change {
  enum class Kind : std::uint8_t { names, write, size, sync };
  Kind kind = Kind::names;
  int node = 0;                                      // whose names or bytes
  std::vector<std::pair<std::string, int>> names{};  // what they are now; 0: nothing
  Bytes offset = 0;
  std::shared_ptr<const FileBytes> bytes{};
  Bytes size = 0;
};

}  // namespace sherd::test

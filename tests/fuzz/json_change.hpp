#pragma once
// Changes of JSON that leave it JSON: they reach what bytes changed at random seldom do.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/target.hpp"

namespace sherd::fuzz {

using Tree = nlohmann::json;

inline void collect(Tree& tree, std::vector<Tree*>& all) {
  all.push_back(&tree);
  if (!tree.is_structured()) return;
  for (Tree& child : tree) collect(child, all);
}

/// A number at an edge of some type or limit, or near `old`.
inline Tree other_number(const Tree& old, Random& random) {
  constexpr std::array<std::uint64_t, 16> edges = {
      0,        1,          2,          255,        256,        257,        65536,      0x7fffffff,
      1u << 31, 1ull << 32, 1ull << 40, 1ull << 48, 1ull << 53, 1ull << 62, 1ull << 63, ~0ull};
  switch (random.below(6)) {
    case 0:
      return edges[random.below(edges.size())];
    case 1:
      return old.is_number_unsigned() ? old.get<std::uint64_t>() + 1 : 1;
    case 2:
      return old.is_number_unsigned() ? old.get<std::uint64_t>() - 1 : 1;
    case 3:
      return old.is_number_unsigned() ? old.get<std::uint64_t>() * 2 : 2;
    case 4:
      return random.one_in(2) ? Tree(-1) : Tree(0.5);
    default:
      return random.one_in(8) ? Tree(1e300) : Tree(random.below(1024));
  }
}

/// Anything small.
inline Tree other_value(Random& random) {
  const std::array<Tree, 9> values = {nullptr, true,          false,         0, "", "a",
                                      -1,      Tree::array(), Tree::object()};
  return values[random.below(values.size())];
}

inline void change_text(std::string& text, Random& random) {
  const std::size_t at = random.below(text.size() + 1);
  if (random.one_in(3)) {
    text.insert(at, 1, static_cast<char>(32 + random.below(95)));
  } else if (!text.empty() && random.one_in(2)) {
    text.erase(at % text.size(), 1);
  } else if (!text.empty()) {
    text[at % text.size()] = static_cast<char>(32 + random.below(95));
  }
}

inline void change_structure(Tree& node, Tree copy, Random& random) {
  if (node.is_array()) {
    const std::size_t at = random.below(node.size() + 1);
    if (at < node.size() && random.one_in(2)) {
      node.erase(at);
    } else if (at < node.size() && random.one_in(2)) {
      std::swap(node[at], node[random.below(node.size())]);
    } else {
      node.insert(node.begin() + static_cast<std::ptrdiff_t>(at), std::move(copy));
    }
    return;
  }
  if (node.empty() || random.one_in(4)) {
    node["extra"] = std::move(copy);
    return;
  }
  auto member = node.begin();
  std::advance(member, random.below(node.size()));
  std::string key = member.key();
  Tree value = member.value();
  if (!random.one_in(4)) node.erase(member);
  if (random.one_in(2)) return;
  change_text(key, random);
  node[key] = std::move(value);
}

/// One change somewhere in the tree.
inline void change_tree(Tree& tree, Random& random) {
  std::vector<Tree*> all;
  collect(tree, all);
  Tree& node = *all[random.below(all.size())];
  Tree copy = *all[random.below(all.size())];
  if (copy.is_structured() && copy.size() > 64) copy = other_value(random);
  if (random.one_in(8)) {
    node = random.one_in(2) ? std::move(copy) : other_value(random);
  } else if (node.is_number()) {
    node = other_number(node, random);
  } else if (node.is_string()) {
    std::string text = node.get<std::string>();
    change_text(text, random);
    node = text;
  } else if (node.is_boolean()) {
    node = !node.get<bool>();
  } else if (node.is_structured()) {
    change_structure(node, std::move(copy), random);
  } else {
    node = std::move(copy);
  }
}

/// Trees are walked and written by recursion.
inline bool is_deep(const std::string& text) {
  int depth = 0, deepest = 0;
  for (const char c : text) {
    depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    deepest = std::max(deepest, depth);
  }
  return deepest > 64;
}

/// Of text that is JSON mostly the tree is changed, else bytes.
inline std::string changed_json(std::string text, Random& random, const ChangeBytes& change) {
  Tree tree = random.one_in(4) || is_deep(text) ? Tree(Tree::value_t::discarded)
                                                : Tree::parse(text, nullptr, false);
  if (tree.is_discarded()) {
    change(text);
    return text;
  }
  for (std::size_t times = 1 + random.below(3); times > 0; --times) change_tree(tree, random);
  return tree.dump(-1, ' ', false, Tree::error_handler_t::replace);
}

/// Does everything in `part` stand in `whole` too, at the same place?
inline bool is_contained(const Tree& part, const Tree& whole) {
  if (!part.is_object()) {
    if (!part.is_array()) return part == whole;
    if (!whole.is_array() || part.size() != whole.size()) return false;
    for (std::size_t i = 0; i < part.size(); ++i)
      if (!is_contained(part[i], whole[i])) return false;
    return true;
  }
  for (const auto& [key, value] : part.items())
    if (!whole.is_object() || !whole.contains(key) || !is_contained(value, whole[key]))
      return false;
  return true;
}

}  // namespace sherd::fuzz

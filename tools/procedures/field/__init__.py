"""What runs the operators' procedures: members, the operator, masks, the comparison."""
